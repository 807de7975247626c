"""Anatomical pattern of a person's microbleeds, and part of the imaging item of Boston criteria
v2.0.

Boston criteria v2.0: Charidimou et al., Lancet Neurol 2022;21:714.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cmburden.core.tables import BOSTON_AGE, NOT_CLASSIFIABLE
from cmburden.space.regions import BY_NAME, UNKNOWN

#: Least number of strictly lobar haemorrhagic lesions of the imaging item.
_BOSTON_LESIONS = 2
#: Region that counts as neither lobar nor deep in Boston criteria v2.0.
_NEITHER = "cerebellum"


def boston_imaging(regions: Sequence[str], age: float | None = None) -> bool | None:
    """At least 2 strictly lobar haemorrhagic lesions, the cerebellum not counted.

    ``regions``: MARS region of each definite microbleed and macrohaemorrhage. A lesion of a deep
    region or of the brainstem excludes the item. None where the item does not apply, below 50
    years, and where a lesion outside of every region leaves it open. An unknown ``age`` (years) is
    taken as 50 or above. The criteria also need clinical data; superficial siderosis and the route
    of one lesion with white matter features are not looked for.

    >>> boston_imaging(["frontal", "insula", "cerebellum"])
    True
    >>> boston_imaging(["frontal", "insula", "brainstem"]), boston_imaging(["frontal"], 49)
    (False, None)
    """
    if age is not None and age < BOSTON_AGE:
        return None
    groups = [BY_NAME.get(region, UNKNOWN).group for region in regions if region != _NEITHER]
    lobar, unplaced = groups.count("lobar"), groups.count(UNKNOWN.group)
    if len(groups) > lobar + unplaced or len(groups) < _BOSTON_LESIONS:
        return False
    return None if unplaced else True


def boston_column(participants: pd.DataFrame, lesions: pd.DataFrame) -> list[bool | None]:
    """`boston_imaging` of `participants`, by the definite `lesions` of the chosen scan; None
    without one."""
    definite = lesions[lesions["label"] == "definite"]
    regions = definite.groupby("scan_id")["region"].agg(list).to_dict()
    return [
        None
        if pd.isna(scan_id)
        else boston_imaging(regions.get(scan_id, []), None if pd.isna(age) else float(age))
        for scan_id, age in zip(participants["scan_id"], participants["age"], strict=True)
    ]


def pattern_of(groups: Sequence[str]) -> str:
    """Pattern of a person from the groups of their definite microbleeds.

    Macrohaemorrhages are no microbleeds and change no pattern. A microbleed outside of every region
    may belong to any group: the pattern is then not classifiable, unless the others make it mixed.

    >>> pattern_of([]), pattern_of(["lobar", "deep"]), pattern_of(["lobar", "unknown"])
    ('none', 'mixed', 'not classifiable')
    """
    placed = {group for group in groups if group != UNKNOWN.group}
    if "lobar" in placed and len(placed) > 1:
        return "mixed"
    if UNKNOWN.group in groups:
        return NOT_CLASSIFIABLE
    if not placed:
        return "none"
    return "strictly lobar" if "lobar" in placed else "strictly deep/infratentorial"
