"""Scanner of each scan: maker by the image's sidecar, field strength by the run's table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from cmburden.core import config
from cmburden.core.foreign import UnreadableFile, read_json_object
from cmburden.core.makers import maker_of
from cmburden.core.paths import Layout

#: Variables of a scanner among the columns of ``Cases.scans``.
VARIABLES = ("maker", "field")
_ENDING = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


def field_of(tesla: object) -> str | None:
    """Field strength as the nearest half tesla.

    >>> field_of(2.89), field_of(1.494), field_of(None)
    ('3 T', '1.5 T', None)
    """
    if not isinstance(tesla, (int, float)) or not math.isfinite(tesla):
        return None
    return f"{round(2 * tesla) / 2:g} T"


def of_scans(layout: Layout, scans: pd.DataFrame) -> pd.DataFrame:
    """Columns ``maker`` and ``field`` for rows of `scans`, in their order; None where unknown."""
    bids = _bids_dir(layout)
    makers = [maker_of(text) for text in _manufacturers(bids, scans)]
    fields = [
        field_of(None if pd.isna(value) else float(value)) for value in scans["field_strength_t"]
    ]
    columns = {"maker": makers, "field": fields}
    return pd.DataFrame(columns, index=scans.index, dtype=object)


def _bids_dir(layout: Layout) -> Path | None:
    """The folder that the run read; None where it is not known, or gone."""
    folder = config.stored(layout.config).get("bids_dir")
    return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None


def _manufacturers(bids: Path | None, scans: pd.DataFrame) -> Iterator[object]:
    for path in scans["path"]:
        if bids is None or pd.isna(path):
            yield None
            continue
        try:
            yield read_json_object(bids / _ENDING.sub(".json", str(path))).get("Manufacturer")
        except UnreadableFile:
            yield None
