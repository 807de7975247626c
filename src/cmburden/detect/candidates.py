"""From the network's output to candidates: local maxima, one a spot."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from nibabel.affines import apply_affine
from scipy import ndimage

from cmburden.detect.grid import NetworkVolume, to_network
from cmburden.detect.network import SpotNet
from cmburden.images.geometry import MIRRORED

#: Two maxima nearer than this are one lesion.
MERGE_MM = 3.0
#: Slices per forward pass and their overlap: bounds the memory; the network sees 5 slices around.
CHUNK, OVERLAP = 48, 6


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A place that may be a microbleed; ``centre_mm`` scanner RAS, ``p_cnn`` in 0..1."""

    centre_mm: tuple[float, float, float]
    p_cnn: float


def half_precision(device: torch.device) -> torch.dtype | None:
    """The half precision that this device is fast in, None for none: a CPU without bfloat16
    instructions would be slower in it than in single precision."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16") else None


@torch.inference_mode()
def probability_map(network: SpotNet, volume: NetworkVolume, device: torch.device) -> np.ndarray:
    """Voxel probabilities (x, y, slice), float32: mean logits over ``MIRRORED``."""
    half = half_precision(device)
    nx, ny, nz = volume.image.shape
    padded = np.zeros((2, -(-nx // 4) * 4, -(-ny // 4) * 4, nz), np.float32)
    padded[0, :nx, :ny], padded[1, :nx, :ny] = volume.image, volume.mask
    result = np.zeros((nx, ny, nz), np.float32)
    for start in range(0, nz, CHUNK):
        stop = min(start + CHUNK, nz)
        low, high = max(start - OVERLAP, 0), min(stop + OVERLAP, nz)
        piece = torch.from_numpy(padded[None, ..., low:high].copy()).to(device)
        logits = torch.zeros((1, 1, *piece.shape[2:]), device=device)
        for axes in MIRRORED:
            with torch.autocast(device.type, half, enabled=half is not None):
                seen = network(piece.flip(axes))
            logits += seen.float().flip(axes) / len(MIRRORED)
        values = torch.sigmoid(logits)[0, 0, :nx, :ny].cpu().numpy()
        result[..., start:stop] = values[..., start - low : stop - low]
    return result


def search(
    network: SpotNet, volume, mask, affine, device, *, minimum: float, maximum_number: int
) -> list[Candidate]:
    """Candidates of a scan: ``volume`` and ``mask`` (x, y, z) as :func:`to_network` takes them."""
    network_volume = to_network(volume, mask, affine)
    probability = probability_map(network, network_volume, device)
    return find_candidates(probability, network_volume, minimum, maximum_number)


def find_candidates(
    probability: np.ndarray, volume: NetworkVolume, minimum: float, maximum_number: int
) -> list[Candidate]:
    """Local maxima of the probability in (or within 2 mm of) the brain, by falling score.

    A maximum within ``MERGE_MM`` of a stronger one belongs to it. Centres are the probability's
    centre of mass around the maximum, so they are finer than a voxel and a slice.
    """
    spacing = np.array(volume.spacing_mm)
    near = volume.mask > 0
    reach = np.maximum(1, np.floor(2.0 / spacing)).astype(int)
    near = ndimage.binary_dilation(near, np.ones(2 * reach + 1))
    size = 2 * np.maximum(1, np.floor(1.5 / spacing)).astype(int) + 1
    peak = (probability == ndimage.maximum_filter(probability, size)) & (probability >= minimum)
    index = np.argwhere(peak & near)
    score = probability[tuple(index.T)]
    # Ties are broken by position, so the order is the same everywhere.
    order = np.lexsort((*index.T[::-1], -score))
    kept: list[np.ndarray] = []
    found: list[Candidate] = []
    for at in order:
        if len(found) >= maximum_number:
            break
        place = index[at]
        if kept and (np.linalg.norm((np.array(kept) - place) * spacing, axis=1) < MERGE_MM).any():
            continue
        kept.append(place)
        low = np.maximum(place - np.array([2, 2, 1]), 0)
        high = np.minimum(place + np.array([3, 3, 2]), probability.shape)
        patch = probability[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        patch = np.where(patch > 0.3 * score[at], patch, 0)
        centre = low + np.array(ndimage.center_of_mass(patch))
        mm = apply_affine(volume.affine, centre)
        # A flat top has maxima far apart, whose centres of mass are not.
        if any(np.linalg.norm(mm - other.centre_mm) < MERGE_MM for other in found):
            continue
        found.append(Candidate(tuple(float(v) for v in mm), float(score[at])))
    return found
