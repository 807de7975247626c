"""How many mimics of microbleeds a scan holds: many, as networks need them, or as people have them.

Rates of a population are shares of people. Calcium is what CT shows: CT shows more of it than
GRE does, so that the rates are rather too high than too low.
"""

from __future__ import annotations

import numpy as np

#: What ``cmburden simulate --mimics`` offers.
MANY, POPULATION = "many", "population"

#: Pallidum, by age in years: share of people; linear between, constant beyond. Ages 50 and over:
#: 7.3 % of controls (Vermersch, Clin Neurol Neurosurg 1992;94:213). Hospital patients, rising with
#: age: 17.2 and 20.6 % (Yamada, Geriatr Gerontol Int 2013;13:706). All ages: 0.8 % (Daghighi 2007).
PALLIDAL_BY_AGE = ((50.0, 0.03), (90.0, 0.20))
#: Choroid plexus of the lateral ventricles 66.2 %, pineal gland 71.0 %, dura (falx, tentorium,
#: sagittal sinus) 7.3 %: 1,569 adults (Daghighi, Folia Morphol 2007;66:115). Both sides of the
#: choroid plexus are alike (right 67.7, left 62.7 %: Ghorbanlou, Anat Cell Biol 2021;54:63).
CHOROID, PINEAL, DURAL = 0.662, 0.710, 0.073
#: Calcium anywhere in the brain. By choice, below the 0.9 % of "lens and others" (Daghighi 2007).
PARENCHYMAL = 0.005
#: Cavernomas: 0.4 % of 2,000 people (Vernooij, N Engl J Med 2007;357:1821).
CAVERNOMAS = 0.004
#: Superficial siderosis: 0.7 % of 1,062 people (Vernooij, Neurology 2009;73:202).
SIDEROSIS = 0.007
#: Haemorrhages above 10 mm. By choice: survivors of a stroke seldom take part in cohorts.
MACROHAEMORRHAGES = 0.005


def pallidal_share(age: float) -> float:
    """Share of people of ``age``, years, with calcium in the pallidum.

    >>> [round(pallidal_share(age), 3) for age in (40, 50, 70, 95)]
    [0.03, 0.03, 0.115, 0.2]
    """
    ages, shares = zip(*PALLIDAL_BY_AGE, strict=True)
    return float(np.interp(age, ages, shares))
