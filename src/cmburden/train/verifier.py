"""Trains YOLO on mined views, from its architecture file: no weights of others are used."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import whole_file
from cmburden.images.views import CHANNELS, OTHER_WAY, VIEW_PIXELS
from cmburden.models.contract import CLASSES
from cmburden.models.weights import choose_device
from cmburden.train import batches, plain_files, precisions, selection, slabs
from cmburden.train.slabs import Mined
from cmburden.train.widen import widened
from cmburden.verify import network as model

#: YOLO learns one of ``SPARSE`` negatives below this probability of the CNN. Most candidates are
#: such negatives, and the CNN is nearly sure of them. Unmeasured.
SURE_P_CNN, SPARSE = 0.4, 8
#: Every tenth file is for validation.
VALIDATION_EVERY = 10
#: Range of the factor that the brightness of a view varies by. Unmeasured.
GAIN = (0.85, 1.15)
BATCH = 64
#: Highest learning rate, from random weights and from given ones. Unmeasured.
RATE, FINE_TUNING_RATE = 2e-3, 3e-4
#: File names in OUT: the state of a training, the description of its views, and its weights.
CHECKPOINT, VIEWS, WEIGHTS = "checkpoint.pt", "views.yaml", "verifier.pt"
#: Settings of ultralytics that are the same in every training.
ULTRALYTICS = {
    "imgsz": VIEW_PIXELS,
    "batch": BATCH,
    "pretrained": False,
    "workers": 0,
    "name": "yolo",
    "exist_ok": True,
    "plots": False,
    "optimizer": "AdamW",
    "lrf": 0.02,
    "cos_lr": True,
    "warmup_epochs": 1,
    "mosaic": 0.0,
    "translate": 0.02,
    "scale": 0.15,
    "degrees": 180.0,
    "flipud": 0.5,
    "fliplr": 0.5,
    "erasing": 0.0,
    "cache": "ram",
    "val": False,
    "verbose": False,
}


@dataclasses.dataclass(frozen=True)
class YoloPlan:
    """How YOLO is trained.

    ``start`` are weights to fine-tune, such as the shipped ones; narrower ones are widened first.
    ``rate`` is the highest learning rate; if None, ``RATE``, or ``FINE_TUNING_RATE`` with
    ``start``. ``workers`` processes vary the views; their number changes nothing.
    """

    epochs: int
    seed: int = 0
    start: Path | None = None
    rate: float | None = None
    fold: str | None = None
    without: tuple[str, ...] = ()
    workers: int = 0
    precision: str = precisions.SINGLE

    @property
    def highest_rate(self) -> float:
        return self.rate or (RATE if self.start is None else FINE_TUNING_RATE)

    @property
    def plain(self) -> dict[str, Any]:
        """What a training must share with its checkpoint, in plain values."""
        return {
            "epochs": self.epochs,
            "seed": self.seed,
            "rate": self.highest_rate,
            "fold": self.fold,
            "without": list(self.without),
            "precision": self.precision,
        }


def write_dataset(
    mined: Path, folder: Path, *, fold: str | None = None, without: tuple[str, ...] = ()
) -> Path:
    """Views and boxes of ``mined`` as a YOLO dataset in ``folder``; the path of its YAML.

    Views of one slab are never on both sides of the validation, unless it is the only one with
    candidates; neither side is empty. A microbleed is the same in any direction: every second view
    has its rows and columns exchanged, and two of four have their slices in the other order, which
    the flips of ultralytics cannot do. Brightness varies here too, since ultralytics varies it in
    pictures of three channels only. Raises CMBurdenError where no file has a candidate.
    """
    paths = slabs.mined_files(mined)
    if not paths:
        raise CMBurdenError(f"{mined}: holds no mined-*.npz; run cmburden train mine first")
    paths = selection.select(paths, fold=fold, without=without)
    rng = np.random.default_rng(0)
    shown: list[Path] = []
    for path in paths:
        content = slabs.load(path, Mined)
        if len(learnt(content)):
            part = "val" if len(shown) % VALIDATION_EVERY == 0 else "train"
            _write_views(folder, part, path.stem, content, rng)
            shown.append(path)
    if not shown:
        raise CMBurdenError(
            f"{mined}: none of its {len(paths)} scans has a candidate to learn from; give YOLO "
            "more scans, and tune with fewer --folds where this is a part of yours"
        )
    if len(shown) == 1:
        _write_views(folder, "train", shown[0].stem, slabs.load(shown[0], Mined), rng)
    return _describe(folder)


def _write_views(
    folder: Path, part: str, stem: str, content: Mined, rng: np.random.Generator
) -> None:
    """Pictures and boxes of the candidates of one slab that YOLO learns.

    Draws: the brightness of each.
    """
    images, labels = (folder / kind / part for kind in ("images", "labels"))
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    for place, candidate in enumerate(learnt(content)):
        view, boxes = _turned(content, int(candidate), place)
        view = np.minimum(np.round(view * rng.uniform(*GAIN)), 255).astype(np.uint8)
        name = f"{stem}-{candidate:03d}"
        _write_tiff(images / f"{name}.tiff", view)
        lines = [f"{int(b[0])} " + " ".join(f"{v:.5f}" for v in b[1:]) for b in boxes]
        (labels / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def learnt(content: Mined) -> np.ndarray:
    """Indices of the candidates that YOLO learns: one of ``SPARSE`` of the sure negatives."""
    sure = (content.classes > 0) & (content.p_cnn < SURE_P_CNN)
    return np.flatnonzero(~sure | (np.arange(len(sure)) % SPARSE == 0))


def _turned(content: Mined, candidate: int, place: int) -> tuple[np.ndarray, np.ndarray]:
    """View and boxes (class, x, y, w, h) of a candidate, turned by its ``place`` in the file."""
    view = content.views[candidate]
    boxes = content.boxes[content.boxes[:, 0] == candidate, 1:]
    if place % 2 == 0:
        view, boxes = view.transpose(1, 0, 2), boxes[:, [0, 2, 1, 4, 3]]
    if place % 4 > 1:
        view = view[..., OTHER_WAY]
    return view, boxes


def _write_tiff(path: Path, view: np.ndarray) -> None:
    """The channels of ``view`` (rows, columns, channels) as pages.

    Ultralytics takes the pages of a TIFF for channels, where a picture has more than three.
    """
    first, *others = (Image.fromarray(page) for page in np.moveaxis(view, -1, 0))
    first.save(path, save_all=True, append_images=others)


def _describe(folder: Path) -> Path:
    names = "\n".join(f"  {number}: {name}" for number, name in enumerate(CLASSES))
    description = folder / VIEWS
    with whole_file(description) as temporary:
        temporary.write_text(
            f"path: {folder.resolve()}\ntrain: images/train\nval: images/val\n"
            f"channels: {len(CHANNELS)}\nnames:\n{names}\n",
            encoding="utf-8",
        )
    return description


def train(mined: Path, out: Path, plan: YoloPlan) -> Path:
    """Train YOLO11 on the files of ``mined``; the path of the weights, ``out``/verifier.pt.

    A checkpoint is written after each epoch. Started again, training goes on from it. No file of
    ``out`` can run code: not one is unpickled.

    Raises
    ------
    CMBurdenError
        Where the checkpoint is none of this version, or of another plan.
    """
    batches.check_workers(plan.workers)
    precisions.check(plan.precision, choose_device("auto"))
    checkpoint = out / CHECKPOINT
    stored = _stored(checkpoint, plan) if checkpoint.exists() else None
    precisions.state(out / WEIGHTS, plan.precision)
    if stored and stored["epoch"] + 1 >= plan.epochs:
        return _write_weights(stored["mean"], out)
    dataset = _dataset(mined, out / "views", plan)
    from cmburden.train.yolo_trainer import Trainer

    first = None
    if plan.start is not None and not stored:
        first = _started(plan.start).state_dict()
    settings = _settings(plan, dataset, out)
    trainer = Trainer(settings, checkpoint, plan.plain, first, stored, plan.workers)
    trainer.train()
    return _write_weights(trainer.ema.ema.state_dict(), out)


def _dataset(mined: Path, folder: Path, plan: YoloPlan) -> Path:
    """The dataset in ``folder``, written where it is not whole.

    Its description is always written anew, and ultralytics' caches of labels are removed: commands
    in the former and pickles in the latter would run.
    """
    if not (folder / VIEWS).exists():
        write_dataset(mined, folder, fold=plan.fold, without=plan.without)
    for cache in folder.rglob("*.cache"):
        cache.unlink()
    return _describe(folder)


def _stored(checkpoint: Path, plan: YoloPlan) -> dict[str, Any]:
    """Content of ``checkpoint``; CMBurdenError unless it is a checkpoint of ``plan``."""
    content = plain_files.load(checkpoint)
    before, epoch, mean = (content.get(key) for key in ("plan", "epoch", "mean"))
    if not isinstance(before, dict) or not isinstance(epoch, int) or not isinstance(mean, dict):
        raise CMBurdenError(
            f"{checkpoint}: not a checkpoint of this version; remove it to train from the start"
        )
    other = [f"{k} {before.get(k)}, not {v}" for k, v in plan.plain.items() if before.get(k) != v]
    if other:
        raise CMBurdenError(
            f"{checkpoint}: of a training with {'; '.join(other)}; give the same options to go on, "
            "or name another OUT"
        )
    return content


def _write_weights(tensors: dict[str, torch.Tensor], out: Path) -> Path:
    """Write ``tensors`` in half precision; the path of the weights."""
    weights = out / WEIGHTS
    plain_files.save(weights, {name: _half(v) for name, v in tensors.items()})
    return weights


def _settings(plan: YoloPlan, dataset: Path, out: Path) -> dict[str, Any]:
    """Arguments of ultralytics' ``train``."""
    return ULTRALYTICS | {
        "model": model.ARCHITECTURE,
        "data": str(dataset),
        "epochs": plan.epochs,
        "seed": plan.seed,
        "project": str(out.resolve()),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        # Ultralytics' "bf16" needs no scaling of the loss.
        "amp": "bf16" if plan.precision == precisions.MIXED else False,
        "lr0": plan.highest_rate,
    }


def _started(weights: Path) -> torch.nn.Module:
    """The network of ``weights``, at least as wide as what is trained now."""
    network = model.read(weights)
    if model.width_of(network.state_dict()) >= model.WIDTH:
        return network
    wide = model.untrained()
    wide.load_state_dict(widened(network.state_dict(), wide))
    return wide


def _half(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` on the CPU; floats in half precision, its greatest number for what is larger."""
    tensor = tensor.cpu()
    return torch.nan_to_num(tensor.half()) if tensor.is_floating_point() else tensor


def parser() -> argparse.ArgumentParser:
    """The step's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("mined", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rate", type=float, help="highest learning rate (2e-3; 3e-4 with --start)"
    )
    parser.add_argument("--start", type=Path, help="weights to fine-tune, such as the shipped ones")
    precisions.add_arguments(parser, "vary views")
    selection.add_arguments(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """``cmburden train verifier MINED OUT --epochs 20``."""
    args = parser().parse_args(arguments)
    plan = YoloPlan(
        epochs=args.epochs,
        seed=args.seed,
        start=args.start,
        rate=args.rate,
        fold=args.fold,
        without=tuple(args.without),
        workers=args.workers,
        precision=args.precision,
    )
    print(train(args.mined, args.out, plan))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
