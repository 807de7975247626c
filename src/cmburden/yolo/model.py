"""The verifier: ultralytics' YOLO11n architecture with our weights, read without pickled code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cmburden import quiet  # noqa: F401  (before ultralytics: it must not reach for the network)
from cmburden.models import load_tensors
from cmburden.yolo.views import CLASSES, VIEW_MM, VIEW_PIXELS

ARCHITECTURE = "yolo11n.yaml"
#: A box counts for the candidate when its centre is this near to the view's centre.
NEAR_MM = 3.0


def build(weights: Path) -> torch.nn.Module:
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel(ARCHITECTURE, ch=3, nc=len(CLASSES), verbose=False)
    network.load_state_dict(load_tensors(weights))
    return network.eval().fuse(verbose=False)


@torch.inference_mode()
def class_scores(
    network: torch.nn.Module, views: np.ndarray, device: torch.device, batch: int = 64
) -> np.ndarray:
    """(n, classes): the best score of each class among boxes about the centre of each view.

    ``views`` (n, 96, 96, 3) uint8. All predictions are read, without suppression: the question is
    not where boxes are but what lies at the centre.
    """
    found = np.zeros((len(views), len(CLASSES)), np.float32)
    near = NEAR_MM / VIEW_MM * VIEW_PIXELS
    for start in range(0, len(views), batch):
        images = torch.from_numpy(views[start : start + batch]).to(device)
        images = images.permute(0, 3, 1, 2).float() / 255
        output = network(images)
        output = output[0] if isinstance(output, (tuple, list)) else output
        middle = (VIEW_PIXELS - 1) / 2
        centred = ((output[:, :2] - middle).abs() < near).all(1, keepdim=True)
        scores = torch.where(centred, output[:, 4:], torch.zeros_like(output[:, 4:]))
        found[start : start + batch] = scores.amax(2).cpu().numpy()
    return found
