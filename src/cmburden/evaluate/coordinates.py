"""Refuses a truth table whose points are not scanner RAS mm, as the prepared volumes show."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.images import stated

_PLACE = ["x_mm", "y_mm", "z_mm"]


def require_ras(layout: Layout, truth: pd.DataFrame, path: Path) -> None:
    """Check the microbleeds of ``truth``, read from ``path``, against the prepared volumes.

    Where the volumes cannot tell (few points, or no volume is left), a remark is printed.

    Raises
    ------
    CMBurdenError
        Where the volumes contradict the table.
    """
    rows = truth[truth["kind"] == "microbleed"].dropna(subset=_PLACE)
    if rows.empty or not layout.manifest.exists():
        return
    scans = {scan.scan_id: scan for scan in read_scans(layout.manifest, layout.root)}
    points = {
        str(scan_id): part[_PLACE].to_numpy(dtype=float)
        for scan_id, part in rows.groupby("scan_id")
    }
    verdict = stated.check(layout, scans, points)
    if verdict is None:
        print(f"{path}: coordinates are not checked, since no prepared volume of its scans is left")
    elif verdict.fits is False:
        raise CMBurdenError(
            f"{path}: {verdict.sentence}; give scanner RAS mm, or evaluate as it is by "
            "--trust-coordinates"
        )
    elif verdict.fits is None:
        print(f"{path}: {verdict.sentence}")
