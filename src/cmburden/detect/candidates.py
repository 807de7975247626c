"""From the network's output to candidates: its local maxima, one for each dark spot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from nibabel.affines import apply_affine
from scipy import ndimage

from cmburden.core.errors import ScanError
from cmburden.detect.grid import NetworkVolume, to_network
from cmburden.detect.network import MEMORY_FORMAT, SpotNet
from cmburden.images.geometry import MIRRORED, steps_within
from cmburden.models.passes import side_by_side
from cmburden.models.precision import SINGLE

#: Two maxima nearer than this are one lesion. Unmeasured.
MERGE_MM = 3.0
#: Slices per forward pass, which bound the memory, and their overlap: the network sees as many
#: slices on either side.
CHUNK, OVERLAP = 48, 4
#: Maxima outside the brain mask count within this distance of the mask. Unmeasured.
OUTSIDE_MM = 2.0
#: A maximum is the highest value within this distance along each axis. Unmeasured.
PEAK_MM = 1.5
#: Flips in plane that the network sees: as it is, and turned by 180 degrees.
_FLIPS = (MIRRORED[0], MIRRORED[3])
#: Voxels on either side of a maximum, in plane and across slices, of which the centre is taken.
CENTRE_REACH = (2, 2, 1)
#: The centre is that of voxels above this share of the maximum. Unmeasured.
CENTRE_SHARE = 0.3


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A place that may be a microbleed; ``centre_mm`` scanner RAS, ``p_cnn`` in 0..1."""

    centre_mm: tuple[float, float, float]
    p_cnn: float


@torch.inference_mode()
def probability_map(
    network: SpotNet, volume: NetworkVolume, device: torch.device, precision: str = SINGLE
) -> np.ndarray:
    """Voxel probabilities (x, y, slice), float32: mean logits over ``_FLIPS``.

    ``precision`` is one of ``models.precision``.
    """
    nx, ny, nz = volume.image.shape
    padded = np.zeros((2, -(-nx // 4) * 4, -(-ny // 4) * 4, nz), np.float32)
    padded[0, :nx, :ny], padded[1, :nx, :ny] = volume.image, volume.mask
    result = np.zeros((nx, ny, nz), np.float32)
    for start in range(0, nz, CHUNK):
        stop = min(start + CHUNK, nz)
        low, high = max(start - OVERLAP, 0), min(stop + OVERLAP, nz)
        piece = torch.from_numpy(padded[None, ..., low:high].copy()).to(device)
        logits = torch.zeros((1, 1, *piece.shape[2:]), device=device)
        turned = [
            partial(network, piece.flip(axes).contiguous(memory_format=MEMORY_FORMAT))
            for axes in _FLIPS
        ]
        for axes, output in zip(_FLIPS, side_by_side(turned, device, precision), strict=True):
            logits += output.float().flip(axes) / len(_FLIPS)
        values = torch.sigmoid(logits)[0, 0, :nx, :ny].cpu().numpy()
        result[..., start:stop] = values[..., start - low : stop - low]
    return result


@dataclasses.dataclass(frozen=True)
class OnDevice:
    """A CNN on a device; ``precision`` is one of ``models.precision``."""

    network: SpotNet
    device: torch.device
    precision: str = SINGLE

    def answer(self, volume: NetworkVolume) -> np.ndarray:
        """Voxel probabilities (x, y, slice) of a volume."""
        return probability_map(self.network, volume, self.device, self.precision)


#: A network with its device, as a scan's work asks it: its voxel probabilities of a volume.
Answer = Callable[[NetworkVolume], np.ndarray]


def search(
    answer: Answer,
    volume: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    *,
    minimum: float,
    maximum_number: int,
) -> list[Candidate]:
    """Candidates of a scan: ``volume`` and ``mask`` (x, y, z) as :func:`to_network` takes them.

    ScanError where a score is NaN or infinite.
    """
    network_volume = to_network(volume, mask, affine)
    probability = answer(network_volume)
    if not np.isfinite(probability).all():
        # NaN is a maximum nowhere: the scan would count as one without candidates.
        raise ScanError("score", "The detector's score is not a number.")
    return find_candidates(probability, network_volume, minimum, maximum_number)


def find_candidates(
    probability: np.ndarray, volume: NetworkVolume, minimum: float, maximum_number: int
) -> list[Candidate]:
    """Local maxima of the probability in the brain or near it, by falling score.

    A maximum within ``MERGE_MM`` of a stronger one belongs to the stronger one. Centres are finer
    than a voxel and a slice (:func:`_centre_mm`). At most ``maximum_number`` candidates have a
    probability of ``minimum`` or more.
    """
    spacing = np.array(volume.spacing_mm)
    index = _maxima(probability, volume, minimum)
    score = probability[tuple(index.T)]
    # Ties are broken by position: the order is the same everywhere.
    order = np.lexsort((*index.T[::-1], -score))
    taken: list[np.ndarray] = []
    centres = np.zeros((0, 3))
    candidates: list[Candidate] = []
    for at in order:
        if len(candidates) >= maximum_number:
            break
        place = index[at]
        if taken and (np.linalg.norm((np.array(taken) - place) * spacing, axis=1) < MERGE_MM).any():
            continue
        taken.append(place)
        centre = _centre_mm(probability, volume, place)
        # A flat top has maxima far apart, whose centres of mass are near each other.
        if (np.linalg.norm(centre - centres, axis=1) < MERGE_MM).any():
            continue
        centres = np.vstack([centres, centre])
        x, y, z = (float(value) for value in centre)
        candidates.append(Candidate((x, y, z), float(score[at])))
    return candidates


def _maxima(probability: np.ndarray, volume: NetworkVolume, minimum: float) -> np.ndarray:
    """Voxel indices (n, 3) of the maxima of ``minimum`` or more, in the brain or near it."""
    spacing = np.array(volume.spacing_mm)
    index = np.argwhere(probability >= minimum)
    for step in _steps(np.maximum(1, np.floor(PEAK_MM / spacing)).astype(int)):
        # Most voxels have a higher one beside them, and are looked at once.
        lower = _beside(probability, index, step) > probability[tuple(index.T)]
        index = index[~lower]
    near = np.zeros(len(index), bool)
    for step in _steps(np.maximum(1, np.floor(OUTSIDE_MM / spacing)).astype(int)):
        near |= _beside(volume.mask, index, step) > 0
    return index[near]


def _steps(reach: np.ndarray) -> np.ndarray:
    """Steps (n, 3) to all voxels within ``reach`` (3,) voxels, the nearest first."""
    steps = steps_within(reach)
    return steps[np.argsort((steps**2).sum(1), kind="stable")]


def _beside(values: np.ndarray, index: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Values (n,) of ``values`` (x, y, z) a ``step`` (3,) from each of ``index`` (n, 3).

    Steps end at the border.
    """
    return values[tuple(np.clip(index + step, 0, np.array(values.shape) - 1).T)]


def _centre_mm(probability: np.ndarray, volume: NetworkVolume, place: np.ndarray) -> np.ndarray:
    """Scanner RAS mm (3,) of the probability's centre of mass around the maximum at ``place``."""
    low = np.maximum(place - np.array(CENTRE_REACH), 0)
    high = np.minimum(place + np.array(CENTRE_REACH) + 1, probability.shape)
    patch = probability[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    patch = np.where(patch > CENTRE_SHARE * probability[tuple(place)], patch, 0)
    return apply_affine(volume.affine, low + np.array(ndimage.center_of_mass(patch)))
