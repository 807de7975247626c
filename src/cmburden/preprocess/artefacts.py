"""Faults of an acquisition or a conversion that a scan shows: measured, and warned of or refused.

Slices that are blank, repeated, out of order or of another brightness; a head that wraps around; a
large signal void; ghosts. The limits lie between the sound scans and the faults of docs/inputs.md;
at most one sound scan in a hundred may be warned of.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.images import geometry
from cmburden.images.volume import Volume

#: A slice is of the brain from this area of the mask on, mm2.
_LEAST_AREA_MM2 = 100.0
#: Slices whose brightness and likeness are compared have this share of the largest area.
_LARGE_SHARE = 0.4
#: A slice is blank whose brightest 50 mm2 are below this share of the median over slices (by eye).
_BLANK = 0.1
#: Smoothing in plane before slices are compared, mm (by eye).
_SMOOTHING_MM = 1.5
#: Gain in correlation by exchanging two neighbouring slices from which they are out of order: sound
#: scans have at most -0.03. Number of slices with little brain among those with much, from which
#: slices are out of order: sound scans have none.
_MOST_GAIN, _MOST_APART = 0.01, 2
#: Unlikeness of neighbours over that of the pairs around them, from which slices are missing: sound
#: scans have up to 3.4, one of a head that nods by 45 degrees about 4; a gap of four slices 4 to 8.
_MOST_GAP, _PAIRS_AROUND = 4.5, 3
#: Unlikeness of neighbours that is noise (by eye).
_LEAST_UNLIKENESS = 0.01
#: Largest difference between odd and even slices, and of a slice from its neighbours, as a share.
_MOST_ALTERNATION, _MOST_STEP = 0.03, 0.15
#: Signal of the head, as a share of the brain's median, and the share of the voxels of two opposite
#: faces that may have it.
_HEAD, _MOST_AT_FACES = 0.25, 0.15
#: Voxels are made this coarse before voids and ghosts are looked for, mm.
_COARSE_MM = 3.0
#: A void is darker than this share of the brain's median, lies within the mask after closing by
#: this radius, and counts from this volume on: sound scans have up to 15 ml at the skull's base.
_VOID, _CLOSING_MM, _LEAST_VOID_ML = 0.2, 15.0, 30.0
#: Air begins this far from the head, whose signal is above this share of the brain's median.
_FROM_HEAD_MM, _HEAD_COARSE = 12.0, 0.3
#: Signal in the air beside the brain beyond that of the corners, as a share of the brain's median:
#: sound scans have up to 0.005, a ghost of a twentieth 0.012 and more, motion of 6 mm 0.008
#: and more in 38 of 40.
_MOST_GHOST = 0.0075
#: Of the voxels of air that are compared.
_UPPER = 0.75
#: Fewest voxels of air to compare.
_FEWEST_AIR = 100


@dataclasses.dataclass(frozen=True)
class Artefacts:
    """Measures of faults; each is 0 in a perfect scan. None: cannot be measured.

    Attributes
    ----------
    slices, blank, repeated : int
        Slices of the brain; those without signal; those equal to the one before.
    order_gain, gap : float
        Largest gain in correlation by exchanging two neighbouring slices; largest unlikeness of two
        neighbours over that of the pairs around them.
    apart : int
        Slices with little brain between slices with much brain.
    alternation, step : float
        Difference in brightness between odd and even slices, and of a slice from its neighbours.
    at_faces : float
        Share of head at both of two opposite faces in plane, the smaller one of the two.
    void_ml : float
        Volume of the largest dark part of the brain's hull.
    ghost : float or None
        Signal in air beside the brain beyond that in the corners, over the brain's median.
    """

    slices: int
    blank: int
    repeated: int
    order_gain: float
    gap: float
    apart: int
    alternation: float
    step: float
    at_faces: float
    void_ml: float
    ghost: float | None

    @property
    def seen_share(self) -> float:
        """Share of the brain's slices that are not blank."""
        return 1 - self.blank / self.slices

    def check(self) -> None:
        """Raise ScanError (slices, excluded) where the slices are not in anatomical order."""
        if self.order_gain > _MOST_GAIN or self.apart > _MOST_APART:
            raise ScanError(
                "slices",
                "Its slices are not in anatomical order: others are more alike than neighbours.",
                excluded=True,
            )

    def warnings(self) -> list[str]:
        """A sentence for each measure beyond its limit."""
        texts = (
            (
                self.blank > 0,
                f"{self.blank} of its {self.slices} slices of the brain are blank: microbleeds"
                " there cannot be seen.",
            ),
            (self.repeated > 0, f"{self.repeated} of its slices are equal to the one before."),
            (
                self.gap > _MOST_GAP and self.blank == 0,
                f"Slices may be missing: two neighbours differ {self.gap:.0f} times as much as"
                " others do.",
            ),
            (
                self.alternation > _MOST_ALTERNATION,
                f"Its odd and even slices differ in brightness by {self.alternation:.0%}.",
            ),
            (
                self.step > _MOST_STEP and self.blank == 0,
                f"The brightness of a slice differs from its neighbours by {self.step:.0%}.",
            ),
            (
                self.at_faces > _MOST_AT_FACES,
                "The head reaches both ends of the field of view in plane: it may wrap around.",
            ),
            (
                self.void_ml > _LEAST_VOID_ML and self.blank == 0,
                f"{self.void_ml:.0f} ml of the brain have no signal (metal, a large haemorrhage).",
            ),
            (
                self.ghost is not None and self.ghost > _MOST_GHOST,
                f"Ghosts or motion: the air beside the brain has {self.ghost or 0:.0%} of its"
                " signal.",
            ),
        )
        return [text for beyond, text in texts if beyond]


def measure(
    volume: Volume, corrected: np.ndarray, mask: np.ndarray, *, stripped: bool = False
) -> Artefacts:
    """Artefacts of a scan; ``corrected`` (x, y, z) has a median of 1 in the brain ``mask``.

    A ``stripped`` scan is blank around the mask. Voids are looked for within its mask alone.
    """
    axis = volume.slice_axis
    raw, bright, inside = (np.moveaxis(part, axis, 2) for part in (volume.data, corrected, mask))
    in_plane = volume.in_plane_mm
    areas = inside.sum((0, 1))
    first, last, blank = _of_brain(raw, areas, float(np.prod(in_plane)))
    brain = raw[:, :, first : last + 1]
    large = [
        plane
        for plane in range(first, last + 1)
        if areas[plane] > _LARGE_SHARE * areas.max() and not blank[plane - first]
    ]
    gain, gap = _likeness(bright[:, :, large], inside[:, :, large], in_plane)
    alternation, step = _steps(raw[:, :, large], inside[:, :, large])
    median = float(np.median(volume.data[mask]))
    void_ml, ghost = _outside(volume, corrected, mask, median, stripped)
    return Artefacts(
        slices=last - first + 1,
        blank=int(blank.sum()),
        repeated=sum(
            np.array_equal(brain[:, :, plane], brain[:, :, plane + 1])
            for plane in range(brain.shape[2] - 1)
            if not blank[plane] and not blank[plane + 1]
        ),
        order_gain=gain,
        gap=gap,
        apart=large[-1]
        - large[0]
        + 1
        - len(large)
        - int(blank[large[0] - first : large[-1] - first].sum()),
        alternation=alternation,
        step=step,
        at_faces=_at_faces(brain > _HEAD * median),
        void_ml=void_ml,
        ghost=ghost,
    )


def _of_brain(raw: np.ndarray, areas: np.ndarray, voxel_mm2: float) -> tuple[int, int, np.ndarray]:
    """First and last slice of the brain in ``raw`` (x, y, slice), and which from one to the other
    are blank.

    ``areas`` (slice,): voxels of the mask. A blank slice with little of the mask at either end is
    no slice of the brain: there the mask reaches one too far, into a slice of a slab's dim edge.
    """
    planes = np.flatnonzero(areas * voxel_mm2 > _LEAST_AREA_MM2)
    first, last = (int(planes[0]), int(planes[-1])) if planes.size else (0, raw.shape[2] - 1)
    brightest = max(1, round(_LEAST_AREA_MM2 / 2 / voxel_mm2))
    blank = _blank(raw[:, :, first : last + 1], brightest)
    beyond = blank & (areas[first : last + 1] <= _LARGE_SHARE * areas.max())
    kept = np.flatnonzero(~beyond)
    if not kept.size:
        return first, last, blank
    return first + int(kept[0]), first + int(kept[-1]), blank[kept[0] : kept[-1] + 1]


def _blank(brain: np.ndarray, brightest: int) -> np.ndarray:
    """Which slices of ``brain`` (x, y, slice) have no signal in their ``brightest`` voxels."""
    planes = brain.reshape(-1, brain.shape[2])
    place = -min(brightest, len(planes))
    tops = np.partition(planes, place, axis=0)[place]
    return tops < _BLANK * np.median(tops)


def _likeness(
    bright: np.ndarray, inside: np.ndarray, in_plane: tuple[float, float]
) -> tuple[float, float]:
    """Largest gain by exchanging neighbours, and largest unlikeness over that around it."""
    count = bright.shape[2]
    if count < 2 * _PAIRS_AROUND:
        return -1.0, 1.0
    sigma = [_SMOOTHING_MM / size for size in in_plane]
    smooth = ndimage.gaussian_filter(np.where(inside, bright, 0), [*sigma, 0])
    like = np.corrcoef(smooth[inside.any(2)].T)
    gains = [
        like[plane - 1, plane + 1]
        + like[plane, plane + 2]
        - like[plane - 1, plane]
        - like[plane + 1, plane + 2]
        for plane in range(1, count - 2)
    ]
    unlike = 1 - np.diag(like, 1)
    gaps = []
    for at, value in enumerate(unlike):
        around = (unlike[max(0, at - _PAIRS_AROUND) : at], unlike[at + 1 : at + 1 + _PAIRS_AROUND])
        gaps.append(value / max(float(np.median(np.concatenate(around))), _LEAST_UNLIKENESS))
    return float(max(gains)), float(max(gaps))


def _steps(raw: np.ndarray, inside: np.ndarray) -> tuple[float, float]:
    """Mean alternation of the slices' brightness, and the largest step, as shares."""
    if raw.shape[2] < 4:
        return 0.0, 0.0
    medians = [np.median(raw[:, :, plane][inside[:, :, plane]]) for plane in range(raw.shape[2])]
    levels = np.log(np.maximum(medians, np.finfo(np.float32).tiny))
    steps = levels[1:-1] - (levels[:-2] + levels[2:]) / 2
    signs = (-1.0) ** np.arange(len(steps))
    return float(abs(np.mean(signs * steps))), float(np.abs(steps).max())


def _at_faces(head: np.ndarray) -> float:
    """The larger one, of both axes in plane, of the head's smaller share of two opposite faces."""
    shares = [
        min(float(np.take(head, end, axis=axis).mean()) for end in (0, -1)) for axis in (0, 1)
    ]
    return max(shares)


def _outside(
    volume: Volume, corrected: np.ndarray, mask: np.ndarray, median: float, stripped: bool
) -> tuple[float, float | None]:
    """Volume of the largest void, ml, and ghosts in air, of which a ``stripped`` scan has none."""
    factors = [max(1, round(_COARSE_MM / size)) for size in volume.zooms]
    sizes = np.array(volume.zooms) * factors
    coarse = geometry.block_means(corrected, factors)
    raw = geometry.block_means(volume.data, factors) / median
    brain = geometry.block_means(mask.astype(np.float32), factors) > 0.5
    if not brain.any():
        return 0.0, None
    hull = brain if stripped else _closed(brain, sizes) | brain
    void = geometry.largest_part(hull & (coarse < _VOID))
    if stripped:
        return float(void.sum() * np.prod(sizes)) / 1000, None
    head = ndimage.binary_closing(np.pad(coarse > _HEAD_COARSE, 2), iterations=2)[2:-2, 2:-2, 2:-2]
    head = geometry.largest_part(ndimage.binary_fill_holes(head))
    air = (ndimage.distance_transform_edt(~head, sizes) > _FROM_HEAD_MM) & (raw > 0)
    return float(void.sum() * np.prod(sizes)) / 1000, _ghost(raw, air, brain, volume.slice_axis)


def _closed(brain: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Closing of the mask ``brain`` by a ball, on a grid that is wide enough for the ball."""
    pad = [int(np.ceil(_CLOSING_MM / size)) + 1 for size in sizes]
    wide = np.pad(brain, [(by, by) for by in pad])
    dilated = ndimage.distance_transform_edt(~wide, sizes) <= _CLOSING_MM
    closed = ndimage.distance_transform_edt(dilated, sizes) > _CLOSING_MM
    return closed[tuple(slice(by, -by) for by in pad)]


def _ghost(raw: np.ndarray, air: np.ndarray, brain: np.ndarray, slice_axis: int) -> float | None:
    """Signal of air beside the brain along one axis in plane beyond that of the corners.

    Upper quartiles: a ghost covers much of the air, whereas a few bright voxels at the edge of a
    sound head carry the mean.
    """
    box = geometry.box(brain)
    beside = []
    corners = air.copy()
    for axis in (other for other in range(3) if other != slice_axis):
        band = np.zeros(air.shape, dtype=bool)
        band[tuple(slice(None) if other == axis else box[other] for other in range(3))] = True
        beside.append(air & band)
        corners &= ~band
    rows = [slice(None)] * 3
    rows[slice_axis] = box[slice_axis]
    level = raw[tuple(rows)][corners[tuple(rows)]]
    levels = [float(np.quantile(raw[part], _UPPER)) for part in beside if part.sum() > _FEWEST_AIR]
    if level.size <= _FEWEST_AIR or not levels:
        return None
    return max(levels) - float(np.quantile(level, _UPPER))
