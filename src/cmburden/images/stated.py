"""Guards tables whose points are said to be scanner RAS mm: the prepared volumes may contradict.

``cmburden evaluate`` and ``cmburden train labels --table`` ask before they use a table. A table in
LPS would pass a test of "inside the brain" for most of its points.
"""

from __future__ import annotations

from collections.abc import Mapping

import nibabel as nib
import numpy as np

from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images import conventions
from cmburden.images.conventions import Seen, Verdict
from cmburden.images.prepared import UnreadableDerivative, read_file

#: Volumes that are read at most: the seconds that a check may take (measured: about 0.2 s each).
MOST_SCANS = 16
_MM = ("ras", "lps", "las")
_VOXELS = tuple(name for name in conventions.NAMES if name not in _MM)


def check(
    layout: Layout,
    scans: Mapping[str, Scan],
    points: Mapping[str, np.ndarray],
    most: int = MOST_SCANS,
) -> Verdict | None:
    """Whether prepared volumes contradict that ``points`` (n, 3) by scan_id are scanner RAS mm.

    At most ``most`` volumes are read: first those of participants that are not read yet, then those
    with the most points. None where no volume of a scan with points is there.
    """
    with_points = [
        scans[scan_id]
        for scan_id in sorted(points)
        if len(points[scan_id]) and scan_id in scans and layout.preproc(scans[scan_id]).exists()
    ]
    parts = []
    for scan in _spread(with_points, points)[:most]:
        try:
            data, affine = read_file(layout.preproc(scan), scan)
        except UnreadableDerivative:
            continue  # the command itself says so, where it needs the volume
        parts.append(_look(data, affine, points[scan.scan_id], scan.participant_id))
    return conventions.check(Seen.joined(parts), "ras") if parts else None


def _spread(scans: list[Scan], points: Mapping[str, np.ndarray]) -> list[Scan]:
    """``scans`` in rounds of one scan a participant, within a round by number of points."""
    taken: dict[str, int] = {}
    ranked = []
    for scan in sorted(scans, key=lambda scan: (-len(points[scan.scan_id]), scan.scan_id)):
        taken[scan.participant_id] = taken.get(scan.participant_id, 0) + 1
        ranked.append((taken[scan.participant_id], scan))
    return [scan for _, scan in sorted(ranked, key=lambda item: item[0])]


def _look(data: np.ndarray, affine: np.ndarray, points: np.ndarray, person: str) -> Seen:
    """What ``points`` show in a prepared volume, which is RAS; its file may have been LAS.

    Voxels are therefore taken in the order LAS of dcm2niix, and in RAS (``voxel0_ras`` ...).
    """
    mirrored = affine @ nib.affines.from_matvec(np.diag([-1, 1, 1]), [data.shape[0] - 1, 0, 0])
    seen = conventions.look(data[::-1], mirrored, points, person)
    canonical = conventions.look(data, affine, points, person, _VOXELS)
    names = tuple(f"{name}_ras" for name in _VOXELS)
    return seen.beside(
        Seen(canonical.dark, canonical.depth, canonical.index, canonical.person, names)
    )
