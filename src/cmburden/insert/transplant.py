"""The renderer by transplant: what lesions that readers confirmed leave of the signal about them.

A donor is a confirmed lesion's ratio image: the volume over what it would be without the lesion, by
a plane through the tissue about it. Donor and scan are of different people and of alike
acquisitions, so that no voxel is interpolated. Numbers are by eye.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine, voxel_sizes

from cmburden.core.errors import DamagedFile, ScanError
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images.geometry import slice_axis
from cmburden.images.prepared import Prepared
from cmburden.insert.ground import Acquisition, within

_LOG = logging.getLogger(__name__)
#: Donors of an acquisition, and their people, below which none is used.
LEAST_DONORS, LEAST_PEOPLE = 8, 4
#: Voxel sizes, and field times echo time, of donor and scan differ by at most this share.
_ALIKE_VOXELS, _ALIKE_ECHO = 0.15, 0.25
#: Largest diameter of a donor, mm. That of a lesion that only readers saw is not known.
_MOST_MM, _UNKNOWN_MM = 8.0, 3.0
#: The lesion reaches this far beyond its radius, fades over the next, and the tissue that it is
#: compared with lies beyond, mm.
_RIM_MM, _FADE_MM, _RING_MM = 1.0, 1.5, 4.0
#: Fewest voxels of tissue about a donor in a slice; darkest and brightest voxel of tissue, medians.
_LEAST_RING, _TISSUE = 8, (0.5, 1.6)
#: Largest ratio; a donor darkens at least so much.
_BRIGHTEST, _LEAST_LOSS = 1.1, 0.25


@dataclasses.dataclass(frozen=True, eq=False)
class Donor:
    """A confirmed lesion: ``ratio`` (x, y, z) about the voxel in its middle, of voxels ``sizes``.

    ``echo`` is field times echo time, T s.
    """

    participant_id: str
    contrast: str
    sizes: np.ndarray
    across: int
    echo: float
    ratio: np.ndarray

    @property
    def half(self) -> np.ndarray:
        return (np.array(self.ratio.shape) - 1) // 2

    def turned(self, rng: np.random.Generator) -> np.ndarray:
        """The ratio, mirrored at random in the slice. Draws: two signs."""
        axes = [axis for axis in range(3) if axis != self.across and rng.random() < 0.5]
        return np.asarray(np.flip(self.ratio, tuple(axes)), dtype=float)

    def fits(self, scan: Scan, sizes: np.ndarray, across: int, acquisition: Acquisition) -> bool:
        """Whether the donor is of another person's scan of an alike acquisition."""
        echo = acquisition.field_t * acquisition.echo_time_s
        return (
            self.participant_id != scan.participant_id
            and self.contrast == scan.contrast
            and self.across == across
            and bool((np.abs(np.log(self.sizes / sizes)) <= _ALIKE_VOXELS).all())
            and abs(np.log(self.echo / echo)) <= _ALIKE_ECHO
        )


def confirmed(reviewed: pd.DataFrame) -> pd.DataFrame:
    """Places that readers settled as microbleeds, none of them too large to be one."""
    real = reviewed["microbleed"].fillna(False).to_numpy(dtype=bool)
    small = reviewed["diameter_mm"].fillna(_UNKNOWN_MM).to_numpy(dtype=float) <= _MOST_MM
    return reviewed[real & small]


def donors(
    places: pd.DataFrame,
    scans: Mapping[str, Scan],
    acquisitions: Mapping[str, Acquisition],
    layout: Layout,
) -> list[Donor]:
    """Donors of the confirmed ``places`` (rows of `reviewed`), in the order of scan and place."""
    library = []
    for scan_id, rows in places.sort_values(["scan_id", "place_id"]).groupby("scan_id"):
        scan = scans.get(str(scan_id))
        if scan is None:
            continue
        try:
            prepared = Prepared.read(scan, layout)
        except (DamagedFile, ScanError) as error:
            _LOG.warning("%s: no donor: %s", scan_id, error)
            continue
        for row in rows.to_dict("records"):
            diameter = row["diameter_mm"] if pd.notna(row["diameter_mm"]) else _UNKNOWN_MM
            at = np.array([row["x_mm"], row["y_mm"], row["z_mm"]], dtype=float)
            donor = _donor(scan, prepared, acquisitions[scan.scan_id], at, float(diameter) / 2)
            library += [donor] if donor is not None else []
    return library


def fitting(library: list[Donor], scan: Scan, affine: np.ndarray, of: Acquisition) -> list[Donor]:
    """The donors that a scan can take; none where they are too few, or of too few people."""
    sizes, across = voxel_sizes(affine), slice_axis(affine)
    chosen = [donor for donor in library if donor.fits(scan, sizes, across, of)]
    people = {donor.participant_id for donor in chosen}
    return chosen if len(chosen) >= LEAST_DONORS and len(people) >= LEAST_PEOPLE else []


def _donor(
    scan: Scan, prepared: Prepared, acquisition: Acquisition, at: np.ndarray, radius: float
) -> Donor | None:
    """The donor at a place in scanner mm; None where there is too little tissue about it."""
    affine = prepared.affine
    sizes, across = voxel_sizes(affine), slice_axis(affine)
    middle = np.rint(apply_affine(np.linalg.inv(affine), at)).astype(int)
    half = np.ceil((radius + _RIM_MM + _FADE_MM + _RING_MM) / sizes).astype(int)
    of_volume, of_box = within(middle, half, prepared.volume.shape)
    shape = tuple(2 * half + 1)
    if any(part.stop - part.start != n for part, n in zip(of_box, shape, strict=True)):
        return None
    values, brain = prepared.volume[of_volume], prepared.mask[of_volume]
    axes = [(np.arange(n) - h) * size for n, h, size in zip(shape, half, sizes, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    offset = (at - apply_affine(affine, middle)) @ (affine[:3, :3] / sizes)
    away = np.sqrt((x - offset[0]) ** 2 + (y - offset[1]) ** 2 + (z - offset[2]) ** 2)
    outside = away > radius + _RIM_MM + _FADE_MM
    tissue = outside & brain & (values > _TISSUE[0]) & (values < _TISSUE[1])
    if tissue.sum() < _LEAST_RING * shape[across]:
        return None
    columns = np.stack([np.ones_like(x), x, y, z], axis=-1)
    weights, *_ = np.linalg.lstsq(columns[tissue], values[tissue], rcond=None)
    without = np.clip(columns @ weights, *_TISSUE)
    share = np.clip((radius + _RIM_MM + _FADE_MM - away) / _FADE_MM, 0, 1)
    ratio = 1 - share * (1 - np.clip(values / without, 0, _BRIGHTEST))
    if ratio[tuple(half)] > 1 - _LEAST_LOSS and ratio.min() > 1 - _LEAST_LOSS:
        return None
    echo = acquisition.field_t * acquisition.echo_time_s
    return Donor(scan.participant_id, scan.contrast, sizes, across, echo, ratio.astype(np.float32))
