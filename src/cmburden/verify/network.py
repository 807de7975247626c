"""The verifier: ultralytics' YOLO11 with our weights, read without pickled code."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmburden.core.errors import CMBurdenError
from cmburden.images.geometry import MIRRORED
from cmburden.images.views import CHANNELS, SHAPE, VIEW_MM, VIEW_PIXELS
from cmburden.models.contract import CLASSES
from cmburden.models.passes import side_by_side
from cmburden.models.precision import SINGLE
from cmburden.models.weights import load_tensors
from cmburden.verify.offline import keep_offline

# Ultralytics reads its switches when it is imported. All modules that import it import this one
# first, and import ultralytics within functions.
keep_offline()

ARCHITECTURE = "yolo11n.yaml"
#: Share of YOLO11's channels, between ultralytics' n (0.25) and s (0.5).
WIDTH = 0.375
_FIRST_LAYER, _FIRST_CHANNELS = "model.0.conv.weight", 64
#: Views are enlarged to this side, and their middle is cut out. Networks that were trained with
#: random resizing do better on slightly larger test images (Touvron et al., NeurIPS 2019,
#: arXiv:1906.06423); measured in docs/lab/weights.md.
ENLARGED_PIXELS = 108
#: A box counts for the candidate when its centre is this near to the view's centre. Unmeasured.
NEAR_MM = 3.0
#: Pictures that a network sees at a time, by the kind of device: enough that a GPU works at its
#: full speed, and on a CPU few enough that filling up costs little.
_BATCH = {"cpu": 32, "cuda": 256}
#: Flips in plane of the first look at a view, and those of a second look. A view whose microbleed
#: score is below ``SURELY_NONE`` after the first keeps its scores: half of all candidates, and far
#: from every threshold in use (docs/lab/weights.md has what either look gives).
_FIRST, _SECOND = (MIRRORED[0], MIRRORED[3]), (MIRRORED[1], MIRRORED[2])
SURELY_NONE = 0.02
#: Scores are clipped to this and to 1 minus this before their logits are averaged.
_LEAST_SCORE = 1e-4


def design(width: float = WIDTH) -> dict:
    """Ultralytics' description of YOLO11n, but with ``width`` in place of 0.25 of the channels."""
    from ultralytics.nn.tasks import yaml_model_load

    described = yaml_model_load(ARCHITECTURE)
    depth, _, most = described["scales"][described["scale"]]
    return described | {"scales": {described["scale"]: [depth, width, most]}}


def untrained(width: float = WIDTH) -> torch.nn.Module:
    """The network of a ``width``, with random weights."""
    from ultralytics.nn.tasks import DetectionModel

    return DetectionModel(design(width), ch=len(CHANNELS), nc=len(CLASSES), verbose=False)


def width_of(tensors: dict[str, torch.Tensor]) -> float:
    """Width of the network that ``tensors`` belong to; 0 where they belong to no YOLO."""
    return len(tensors.get(_FIRST_LAYER, ())) / _FIRST_CHANNELS


def read(weights: Path) -> torch.nn.Module:
    """The network of ``weights``, of their width.

    Raises
    ------
    CMBurdenError
        When the weights are those of another version.
    """
    tensors = load_tensors(weights)
    network = untrained(width_of(tensors) or WIDTH)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CMBurdenError(
            f"{weights}: not weights of this version's YOLO ({len(CHANNELS)} channels, "
            f"{len(CLASSES)} classes); name those of this version"
        ) from error
    return network


def build(weights: Path) -> torch.nn.Module:
    """The network of ``weights`` for inference: batch norms are fused into convolutions."""
    network: Any = read(weights).eval()  # torch does not know ultralytics' ``fuse``
    # The order of memory in which oneDNN is fastest.
    return network.fuse(verbose=False).to(memory_format=torch.channels_last)


def class_scores(
    networks: list[torch.nn.Module],
    views: np.ndarray,
    device: torch.device,
    precision: str = SINGLE,
) -> np.ndarray:
    """(n, classes): the best score of each class among boxes about the centre of each view.

    ``views`` (n, *SHAPE) uint8. Boxes are not suppressed: the question is which class lies at the
    centre, not where boxes are. Each network sees each enlarged view in two flips in plane, and
    then in the other two as well, unless it is surely no microbleed. A score is the logistic
    function of the mean logit over the flips and over ``networks``. ``precision`` is one of
    ``models.precision``.
    """
    first = _logits(networks, views, _FIRST, device, precision)
    # NaN is not sure.
    open_ = np.flatnonzero(~(first[:, 0] < np.log(SURELY_NONE / (1 - SURELY_NONE))))
    second = _logits(networks, views[open_], _SECOND, device, precision)
    first[open_] = (first[open_] + second) / 2
    return (1 / (1 + np.exp(-first))).astype(np.float32)


def _logits(
    networks: list[torch.nn.Module],
    views: np.ndarray,
    flips: tuple[tuple[int, ...], ...],
    device: torch.device,
    precision: str,
) -> np.ndarray:
    """(n, classes) float32: mean logits of n ``views`` over ``flips`` and ``networks``.

    All batches are of one size, the last one filled up: libraries choose their sums by a batch's
    size, and a view's scores must not depend on how many views there are.
    """
    size = _BATCH[device.type] // len(flips)
    batches = [views[start : start + size] for start in range(0, len(views), size)]
    passes = [partial(_of_batch, networks, some, size, flips, device) for some in batches]
    logits = side_by_side(passes, device, precision)
    return np.concatenate([np.zeros((0, len(CLASSES)), np.float32), *logits])


def _of_batch(
    networks: list[torch.nn.Module],
    some: np.ndarray,
    size: int,
    flips: tuple[tuple[int, ...], ...],
    device: torch.device,
) -> np.ndarray:
    """Mean logits (n, classes) of n views in a batch of ``size``."""
    views = np.zeros((size, *SHAPE), np.uint8)
    views[: len(some)] = some
    images = torch.from_numpy(views)
    images = (images.pin_memory() if device.type == "cuda" else images).to(device)
    images = _enlarged(images.permute(0, 3, 1, 2).float() / 255)
    turned = torch.cat([images.flip(axes) for axes in flips]).contiguous(
        memory_format=torch.channels_last
    )
    logits = [torch.logit(_centred(network(turned)).float(), _LEAST_SCORE) for network in networks]
    mean = torch.cat(logits).reshape(-1, len(views), len(CLASSES)).mean(0)
    return mean[: len(some)].cpu().numpy()


def _enlarged(images: torch.Tensor) -> torch.Tensor:
    """The middle of ``images`` (n, channels, VIEW_PIXELS, VIEW_PIXELS), enlarged to that size."""
    margin = (ENLARGED_PIXELS - VIEW_PIXELS) // 2
    larger = torch.nn.functional.interpolate(images, size=ENLARGED_PIXELS, mode="bilinear")
    return larger[..., margin:-margin, margin:-margin]


def _centred(output: torch.Tensor | tuple[torch.Tensor, ...] | list[torch.Tensor]) -> torch.Tensor:
    """(n, classes): the best score of each class of boxes about the middle, 0 without a box.

    NaN where the network gave NaN for a view: a box at no place is not about the middle, and a view
    without a box is no lesion. The middle is its own mirror image: the scores of a mirrored view
    need no turning back.
    """
    output = output[0] if isinstance(output, (tuple, list)) else output
    near = NEAR_MM / VIEW_MM * VIEW_PIXELS
    centred = ((output[:, :2] - VIEW_PIXELS / 2).abs() < near).all(1, keepdim=True)
    best = torch.where(centred, output[:, 4:], torch.zeros_like(output[:, 4:])).amax(2)
    return best.masked_fill(output.isnan().flatten(1).any(1)[:, None], torch.nan)
