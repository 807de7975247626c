"""Training of the YOLO stage on mined views, from the architecture file: no foreign weights."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from cmburden.core.errors import CMBurdenError, told
from cmburden.core.files import whole_file
from cmburden.images.views import CHANNELS, OTHER_WAY, SHAPE, VIEW_MM, VIEW_PIXELS
from cmburden.models.contract import CLASSES
from cmburden.train import selection
from cmburden.train.widen import widened
from cmburden.verify import network as model

#: Of negatives that the CNN gives less than this, one in ``SPARSE`` is kept: they are most, and
#: the CNN has all but decided them already.
SURE_P_CNN, SPARSE = 0.4, 8


def write_dataset(
    mined: Path, folder: Path, held_out: float = 0.1, fold: str | None = None,
    without: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """Views and boxes of ``mined`` as a YOLO dataset; returns its YAML.

    Every tenth slab is for validation: views of one slab never lie on both sides. Every second
    view has its rows and columns exchanged and two of four their slices in the other order, which
    flips (ultralytics' own) cannot do: a bleed is the same thing in any direction. Brightness is
    changed here too, which ultralytics does to three channels only.
    """
    paths = sorted(Path(mined).glob("mined-*.npz"))
    if not paths:
        raise CMBurdenError(f"{mined}: holds no mined-*.npz; run cmburden train mine first")
    paths = selection.select(paths, fold=fold, without=list(without))
    every = max(2, round(1 / held_out))
    rng = np.random.default_rng(0)
    for number, path in enumerate(paths):
        content = np.load(path, allow_pickle=False)
        if content["views"].shape[1:] != SHAPE or content.get("view_mm") != VIEW_MM:
            raise CMBurdenError(
                f"{path}: its views are of another version; run cmburden train mine again"
            )
        part = "val" if number % every == 0 else "train"
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        views, every_box = content["views"], content["boxes"]
        sure = (content["class"] > 0) & (content["p_cnn"] < SURE_P_CNN)
        kept = np.flatnonzero(~sure | (np.arange(len(sure)) % SPARSE == 0))
        for place, k in enumerate(kept):
            name = f"{path.stem}-{k:03d}"
            view, boxes = views[k], every_box[every_box[:, 0] == k, 1:]
            if place % 2 == 0:
                view, boxes = view.transpose(1, 0, 2), boxes[:, [0, 2, 1, 4, 3]]
            if place % 4 > 1:
                view = view[..., OTHER_WAY]
            view = np.minimum(np.round(view * rng.uniform(0.85, 1.15)), 255).astype(np.uint8)
            # The pages of a TIFF are what ultralytics takes for more channels than three.
            first, *others = (Image.fromarray(page) for page in np.moveaxis(view, -1, 0))
            first.save(
                folder / "images" / part / f"{name}.tiff", save_all=True, append_images=others
            )
            lines = [f"{int(b[0])} " + " ".join(f"{v:.5f}" for v in b[1:]) for b in boxes]
            (folder / "labels" / part / f"{name}.txt").write_text("\n".join(lines) + "\n")
    names = "\n".join(f"  {k}: {name}" for k, name in enumerate(CLASSES))
    description = folder / "views.yaml"
    description.write_text(
        f"path: {folder.resolve()}\ntrain: images/train\nval: images/val\n"
        f"channels: {len(CHANNELS)}\nnames:\n{names}\n"
    )
    return description


def train(
    mined: Path, out: Path, *, epochs: int, seed: int, start: Path | None = None,
    rate: float | None = None, fold: str | None = None, without: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """Train YOLO11 from scratch; weights as half-precision tensors in ``out``/verifier.pt.

    After each epoch ultralytics writes its checkpoint; started again, training goes on from it.
    ``start`` are weights to fine-tune, such as the shipped ones, made as wide as what is trained
    now if they are narrower; ``rate`` is the highest learning rate, 2e-3 or, with ``start``, 3e-4
    if not given.
    """
    from ultralytics import YOLO

    last = out / "yolo" / "weights" / "last.pt"
    dataset = out / "views" / "views.yaml"
    if not dataset.exists():
        dataset = write_dataset(mined, out / "views", fold=fold, without=without)
    if last.exists() and _unfinished(last):
        yolo = YOLO(last)
        how = {"resume": True, "data": str(dataset)}
    else:
        first = model.untrained() if start is None else _started(start)
        described = out / model.ARCHITECTURE
        described.write_text(yaml.safe_dump(first.yaml))
        yolo = YOLO(described)
        how = {
            "data": str(dataset), "imgsz": VIEW_PIXELS, "epochs": epochs, "batch": 64,
            "seed": seed, "pretrained": False, "amp": False, "workers": 0,
            "project": str(out.resolve()), "name": "yolo", "exist_ok": True, "plots": False,
            "device": "cuda" if torch.cuda.is_available() else "cpu", "optimizer": "AdamW",
            "lr0": rate or (2e-3 if start is None else 3e-4), "lrf": 0.02, "cos_lr": True,
            "warmup_epochs": 1, "mosaic": 0.0, "translate": 0.02, "scale": 0.15,
            "degrees": 180.0, "flipud": 0.5, "fliplr": 0.5,
            "erasing": 0.0, "cache": "ram", "val": False, "verbose": False,
        }  # fmt: skip
        if start is not None:
            yolo.add_callback("on_pretrain_routine_end", _load_into(first))
    # Ultralytics knows half precision on GPUs alone; bfloat16 on a CPU that has it halves the time.
    yolo.add_callback("on_train_start", lambda trainer: setattr(trainer, "amp", True))
    yolo.train(**how)
    # The checkpoint is ours, written seconds ago: its pickled model may be opened here, and only
    # its tensors leave.
    network = YOLO(last).model
    weights = out / "verifier.pt"
    with whole_file(weights) as temporary:
        torch.save({k: _half(v) for k, v in network.state_dict().items()}, temporary)
    return weights


def _unfinished(checkpoint: Path) -> bool:
    """Whether a checkpoint of ours is of a training that was stopped: then its epoch is not -1."""
    try:
        # Written by this very training, so its pickled settings may be opened.
        content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CMBurdenError(
            f"{checkpoint}: not a whole checkpoint ({error}); remove it to train from the start"
        ) from error
    return content.get("epoch", -1) >= 0


def _started(weights: Path) -> torch.nn.Module:
    """The network of ``weights``, at least as wide as what is trained now."""
    network = model.read(weights)
    if model.width_of(network.state_dict()) >= model.WIDTH:
        return network
    wide = model.untrained()
    wide.load_state_dict(widened(network.state_dict(), wide))
    return wide


def _load_into(first: torch.nn.Module) -> Callable:
    """A callback that puts ``first``'s weights into the trainer's network and its running mean."""

    def load(trainer) -> None:
        for network in (trainer.model, trainer.ema.ema):
            network.load_state_dict(first.state_dict())

    return load


def _half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def parser() -> argparse.ArgumentParser:
    """Arguments of the step: checked before a job is queued."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("mined", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rate", type=float, help="highest learning rate (2e-3; 3e-4 with --start)"
    )
    parser.add_argument("--start", type=Path, help="weights to fine-tune, such as the shipped ones")
    selection.add_arguments(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """``cmburden train verifier MINED OUT --epochs 20``."""
    args = parser().parse_args(arguments)
    print(
        train(
            args.mined,
            args.out,
            epochs=args.epochs,
            seed=args.seed,
            start=args.start,
            rate=args.rate,
            fold=args.fold,
            without=tuple(args.without),
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
