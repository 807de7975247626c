"""Training of the 3D CNN on slabs, checkpointed: stopped and started again, it goes on."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from cmburden.cnn.network import SpotNet
from cmburden.errors import CMBurdenError
from cmburden.records import whole_file, write_json


@dataclasses.dataclass(frozen=True)
class Slab:
    """A training slab in memory: image, mask (x, y, z), lesion centres (n, 3) and radii in mm."""

    image: np.ndarray
    mask: np.ndarray
    spacing: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    mimics: np.ndarray


def load_slabs(folder: Path, slabs: dict[str, Slab]) -> None:
    """Add to ``slabs`` (by file name) those of ``folder`` that it does not hold yet."""
    for path in sorted(Path(folder).glob("slab-*.npz")):
        if path.name in slabs:
            continue
        content = np.load(path, allow_pickle=False)
        lesion = content["kind"] == "microbleed"
        slabs[path.name] = Slab(
            content["image"],
            content["mask"],
            content["spacing"],
            content["centre"][lesion],
            content["radius"][lesion],
            content["centre"][~lesion],
        )


def target(shape, centre: np.ndarray, radius: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """1 inside each lesion's visible sphere and at its nearest voxel, falling to 0 over a voxel.

    In thick slices the sphere is taken to reach half a slice beyond itself: its signal loss does.
    """
    result = np.zeros(shape, np.float32)
    for at, size in zip(centre, np.maximum(radius, 0.9), strict=True):
        half = np.array([size, size, max(size, spacing[2] * 0.5)])
        reach = np.ceil((half + spacing) / spacing).astype(int)
        low = np.maximum(np.floor(at).astype(int) - reach, 0)
        high = np.minimum(np.floor(at).astype(int) + reach + 2, shape)
        if (low >= high).any():
            continue
        axes = [
            (np.arange(a, b) - c) * s / h
            for a, b, c, s, h in zip(low, high, at, spacing, half, strict=True)
        ]
        far = np.sqrt(
            axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None] ** 2
        )
        value = np.clip((1 - far) * size / spacing[0] + 1, 0, 1)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        result[box] = np.maximum(result[box], value)
    return result


def draw_patch(slab: Slab, rng: np.random.Generator, size=(48, 48, 12)):
    """A patch about a lesion, a mimic or anywhere; mirrored, contrast changed, noise added."""
    size = np.array(size)
    pick = rng.random()
    if pick < 0.55 and len(slab.centre):
        middle = slab.centre[rng.integers(len(slab.centre))]
    elif pick < 0.7 and len(slab.mimics):
        middle = slab.mimics[rng.integers(len(slab.mimics))]
    else:
        for _ in range(4):
            middle = rng.uniform(0, slab.image.shape)
            if slab.mask[tuple(middle.astype(int))]:
                break
    low = np.round(middle + rng.uniform(-0.35, 0.35, 3) * size - size / 2).astype(int)
    low = np.clip(low, 0, np.maximum(np.array(slab.image.shape) - size, 0))
    high = np.minimum(low + size, slab.image.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    image = slab.image[box].astype(np.float32)
    mask = slab.mask[box].astype(np.float32)
    near = ((slab.centre > low - 8) & (slab.centre < high + 8)).all(1)
    truth = target(image.shape, slab.centre[near] - low, slab.radius[near], slab.spacing)
    pad = [(0, n - s) for n, s in zip(size, image.shape, strict=True)]
    image, mask, truth = (np.pad(v, pad) for v in (image, mask, truth))
    if rng.random() < 0.5:
        image = np.clip(image, 0, None) ** rng.uniform(0.7, 1.4)
    image = image * rng.uniform(0.92, 1.08)
    if rng.random() < 0.3:
        image = image + rng.normal(0, rng.uniform(0, 0.05), image.shape).astype(np.float32)
    volumes = [np.clip(image, 0, 2.5), mask, truth]
    for axis in range(3):
        if rng.random() < 0.5:
            volumes = [np.flip(v, axis) for v in volumes]
    if rng.random() < 0.5:
        volumes = [v.transpose(1, 0, 2) for v in volumes]
    return [np.ascontiguousarray(v, dtype=np.float32) for v in volumes]


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Focal cross-entropy plus soft Dice over the batch: few voxels, none to be lost."""
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = torch.sigmoid(logits)
    wrong = (probability - truth).abs()
    weight = torch.where(truth > 0.3, 8.0, 1.0)
    focal = (wrong**1.5 * cross * weight).sum() / (truth.sum() * 3 + 200)
    dice = 1 - (2 * (probability * truth).sum() + 5) / (probability.sum() + truth.sum() + 5)
    return focal + dice


def train(
    folder: Path, out: Path, *, steps: int, batch: int, channels: int, seed: int, minutes: float
) -> Path:
    """Train for ``steps`` or ``minutes``; checkpoint each 50 steps. Returns the weights' path."""
    slabs: dict[str, Slab] = {}
    torch.manual_seed(seed)
    network = SpotNet(channels)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    checkpoint = out / "checkpoint.pt"
    start, spent, curve = 0, 0.0, []
    load_slabs(folder, slabs)
    if not slabs:
        raise CMBurdenError(f"{folder}: holds no slab-*.npz; run cmburden train dataset first")
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        start, spent, curve = state["step"], state["seconds"], state["curve"]
    began, running = time.monotonic() - spent, None
    for step in range(start, steps):
        seconds = time.monotonic() - began
        done = max(step / steps, seconds / (minutes * 60))
        if done >= 1:
            break
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        rate = 2e-3 * min(1.0, (step + 1) / 50) * (0.98 * cosine + 0.02)
        for group in optimiser.param_groups:
            group["lr"] = rate
        rng = np.random.default_rng([seed, step])
        if step % 100 == 0:
            # Slabs that were written since: simulation and training may run side by side.
            load_slabs(folder, slabs)
        names = sorted(slabs)
        drawn = [draw_patch(slabs[names[rng.integers(len(names))]], rng) for _ in range(batch)]
        image, mask, truth = (torch.from_numpy(np.stack(v)) for v in zip(*drawn, strict=True))
        loss = loss_of(network(torch.stack([image, mask], 1)), truth[:, None])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        running = loss.item() if running is None else 0.97 * running + 0.03 * loss.item()
        if step % 50 == 49:
            curve.append([step + 1, round(running, 5), round(seconds, 1)])
            print(f"step {step + 1} loss {running:.4f} {seconds:.0f} s", flush=True)
            state = {
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "seconds": seconds,
                "curve": curve,
            }
            with whole_file(checkpoint) as temporary:
                torch.save(state, temporary)
    weights = out / "detector.pt"
    with whole_file(weights) as temporary:
        torch.save({k: v.half() for k, v in network.state_dict().items()}, temporary)
    write_json(out / "curve.json", {"step_loss_seconds": curve, "slabs": len(slabs)})
    return weights


def main(arguments: list[str] | None = None) -> int:
    """``python -m cmburden.train.detector SLABS OUT --minutes 40``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("slabs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9)
    args = parser.parse_args(arguments)
    print(json.dumps({k: str(v) for k, v in vars(args).items()}), flush=True)
    weights = train(
        args.slabs, args.out, steps=args.steps, batch=args.batch, channels=args.channels,
        seed=args.seed, minutes=args.minutes,
    )  # fmt: skip
    print(weights)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
