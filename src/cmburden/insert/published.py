"""Where and how large microbleeds are in published sets.

957 microbleeds in 206 scans of the five sets that del Pozo Lerida et al. tabulate (DOU, MOMENI,
VALDO, RODEJA, CRB; jorgedelpozolerida/MicrobleedNet, data-misc/csv), SWI 66 %, T2* 34 %, radius as
it shows on the scan.
"""

from __future__ import annotations

import numpy as np

NAME = "957 published microbleeds"
#: Shares of the 957 by place, with the group of each; 2 % are not placed. Subcortical white matter
#: is taken as lobar, as on the MARS scale; it may hold some deep white matter.
PLACES = {
    "subcortical white matter": ("lobar", 0.40),
    "cortex and grey-white junction": ("lobar", 0.33),
    "cerebellum": ("infratentorial", 0.08),
    "basal ganglia": ("deep", 0.08),
    "thalamus": ("deep", 0.05),
    "brainstem": ("infratentorial", 0.04),
}
#: Quantiles of the apparent radius, mm.
RADIUS_MM = {0.05: 0.7, 0.25: 1.2, 0.50: 1.4, 0.75: 1.6, 0.95: 2.4}
#: Ends of the distribution for draws, mm (by eye).
_LEAST_MM, _MOST_MM = 0.5, 4.0


def draw_radius(rng: np.random.Generator) -> float:
    """An apparent radius, mm, by linear interpolation between the published quantiles."""
    levels = [0.0, *RADIUS_MM, 1.0]
    radii = [_LEAST_MM, *RADIUS_MM.values(), _MOST_MM]
    return float(np.interp(rng.random(), levels, radii))


def share_below(diameter_mm: float) -> float:
    """Share of published microbleeds with a smaller apparent diameter.

    >>> share_below(2.8), share_below(0.5)
    (0.5, 0.0)
    """
    levels = [0.0, *RADIUS_MM, 1.0]
    radii = [_LEAST_MM, *RADIUS_MM.values(), _MOST_MM]
    return float(np.interp(diameter_mm / 2, radii, levels))
