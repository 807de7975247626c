"""MARS regions (Gregoire et al., Neurology 2009;73:1759): names, groups and label values.

Label values 1-13 are those of the published MNI152 MARS atlas (v-sundaresan/
microbleed-size-counting, MIT). In `_desc-MARS_dseg.nii.gz` a left region has its value and a right
region its value + 100, so that one volume holds regions and sides.
"""

from __future__ import annotations

import dataclasses

import numpy as np

#: Added to a region's value on the right.
RIGHT_OFFSET = 100


@dataclasses.dataclass(frozen=True)
class Region:
    """A MARS region: ``value`` on the left, ``name``, and ``group`` (lobar, deep ...)."""

    value: int
    name: str
    group: str


REGIONS = (
    Region(1, "brainstem", "infratentorial"),
    Region(2, "cerebellum", "infratentorial"),
    Region(3, "basal ganglia", "deep"),
    Region(4, "thalamus", "deep"),
    Region(5, "internal capsule", "deep"),
    Region(6, "external capsule", "deep"),
    Region(7, "corpus callosum", "deep"),
    Region(8, "deep and periventricular white matter", "deep"),
    Region(9, "frontal", "lobar"),
    Region(10, "parietal", "lobar"),
    Region(11, "temporal", "lobar"),
    Region(12, "occipital", "lobar"),
    Region(13, "insula", "lobar"),
)
BY_VALUE = {region.value: region for region in REGIONS}
BY_NAME = {region.name: region for region in REGIONS}
UNKNOWN = Region(0, "unknown", "unknown")
#: Values of brainstem and cerebellum.
INFRATENTORIAL = tuple(region.value for region in REGIONS if region.group == "infratentorial")


def without_side(labels: np.ndarray) -> np.ndarray:
    """Region values (0 to 13) of ``labels`` of any shape, whichever side.

    >>> without_side(np.array([0, 9, 109])).tolist()
    [0, 9, 9]
    """
    return labels % RIGHT_OFFSET


def region_of(label: int) -> tuple[Region, str]:
    """Region and hemisphere of a value in `_desc-MARS_dseg.nii.gz`.

    >>> region_of(109)[0].name, region_of(109)[1], region_of(0)[1]
    ('frontal', 'right', 'unknown')
    """
    if label <= 0:
        return UNKNOWN, "unknown"
    side = "right" if label > RIGHT_OFFSET else "left"
    return BY_VALUE[label % RIGHT_OFFSET], side
