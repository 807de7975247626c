"""Names of numbers of lesions."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cmburden.summary.names import Measure


@dataclasses.dataclass(frozen=True)
class Lesions(Measure):
    """Number of lesions with a label."""

    TEMPLATE = "lesions {label}"
    label: Literal["definite", "possible", "macrohaemorrhage"]


@dataclasses.dataclass(frozen=True)
class LesionsInRegion(Measure):
    """Number of definite microbleeds in a MARS region of one side."""

    TEMPLATE = "lesions region={region} hemisphere={hemisphere}"
    region: str
    hemisphere: str
