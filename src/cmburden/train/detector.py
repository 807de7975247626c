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
from scipy import ndimage

from cmburden.core.errors import CMBurdenError, told
from cmburden.core.files import whole_file, write_json
from cmburden.detect.candidates import search
from cmburden.detect.network import SpotNet
from cmburden.models.weights import choose_device, load_tensors
from cmburden.stats.matching import hits_by_score, only_near
from cmburden.train import selection

#: Voxels of a training patch on the network's grid.
PATCH = (48, 48, 12)


@dataclasses.dataclass(frozen=True)
class Slab:
    """A training slab in memory: image, mask (x, y, z), lesion centres (n, 3) and radii in mm,
    those of faint lesions, centres of mimics."""

    image: np.ndarray
    mask: np.ndarray
    spacing: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    faint: np.ndarray
    faint_radius: np.ndarray
    mimics: np.ndarray


def load_slabs(folder: Path, slabs: dict[str, Slab], plan: Plan | None = None) -> None:
    """Add to ``slabs`` (by file name) those of ``folder`` that it does not hold yet.

    The plan's fold and acquisitions to leave out are not loaded.
    """
    paths = [path for path in sorted(Path(folder).glob("slab-*.npz")) if path.name not in slabs]
    if plan and (plan.fold or plan.without):
        paths = selection.select(paths, fold=plan.fold, without=list(plan.without))
    for path in paths:
        content = np.load(path, allow_pickle=False)
        lesion, faint = (content["kind"] == kind for kind in ("microbleed", "faint"))
        slabs[path.name] = Slab(
            content["image"],
            content["mask"],
            content["spacing"],
            content["centre"][lesion],
            content["radius"][lesion],
            content["centre"][faint],
            content["radius"][faint],
            content["centre"][~lesion & ~faint],
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


@dataclasses.dataclass(frozen=True)
class Patch:
    """``image``, ``mask``, ``truth`` of one size; where it is from, to find its voxels again."""

    image: np.ndarray
    mask: np.ndarray
    truth: np.ndarray
    low: np.ndarray
    mirrored: tuple[bool, bool, bool]
    turned: bool

    def in_slab(self, index: np.ndarray) -> np.ndarray:
        """Voxel of the slab at voxel ``index`` (3,) of the patch."""
        index = np.array(index)
        if self.turned:
            index = index[[1, 0, 2]]
        size = np.array(self.image.shape)
        if self.turned:
            size = size[[1, 0, 2]]
        return np.where(self.mirrored, size - 1 - index, index) + self.low


def draw_patch(slab: Slab, hard: np.ndarray, rng: np.random.Generator, size=PATCH) -> Patch:
    """A patch about a lesion, a mimic, a ``hard`` place (n, 3) or anywhere; mirrored, changed in
    contrast, with noise added."""
    size = np.array(size)
    pick = rng.random()
    if pick < 0.45 and len(slab.centre):
        middle = slab.centre[rng.integers(len(slab.centre))]
    elif pick < 0.55 and len(slab.mimics):
        middle = slab.mimics[rng.integers(len(slab.mimics))]
    elif pick < 0.8 and len(hard):
        middle = hard[rng.integers(len(hard))].astype(float)
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

    def shown(centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
        near = ((centre > low - 8) & (centre < high + 8)).all(1)
        return target(image.shape, centre[near] - low, radius[near], slab.spacing)

    truth = shown(slab.centre, slab.radius)
    # What readers would argue about teaches nothing: see loss_of.
    truth[(shown(slab.faint, slab.faint_radius) > 0) & (truth == 0)] = -1
    pad = [(0, n - s) for n, s in zip(size, image.shape, strict=True)]
    image, mask, truth = (np.pad(v, pad) for v in (image, mask, truth))
    if rng.random() < 0.5:
        image = np.clip(image, 0, None) ** rng.uniform(0.7, 1.4)
    image = image * rng.uniform(0.92, 1.08)
    if rng.random() < 0.3:
        image = image + rng.normal(0, rng.uniform(0, 0.05), image.shape).astype(np.float32)
    volumes = [np.clip(image, 0, 2.5), mask, truth]
    mirrored = tuple(bool(rng.random() < 0.5) for _ in range(3))
    for axis in np.flatnonzero(mirrored):
        volumes = [np.flip(v, axis) for v in volumes]
    turned = bool(rng.random() < 0.5)
    if turned:
        volumes = [v.transpose(1, 0, 2) for v in volumes]
    return Patch(
        *(np.ascontiguousarray(v, dtype=np.float32) for v in volumes), low, mirrored, turned
    )


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Focal cross-entropy plus soft Dice over the batch: few voxels, none to be lost.

    Voxels whose ``truth`` is below 0 take no part.
    """
    counts = (truth >= 0).float()
    truth = truth * counts
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = torch.sigmoid(logits) * counts
    wrong = (probability - truth).abs()
    weight = torch.where(truth > 0.3, 8.0, 1.0)
    focal = (wrong**1.5 * cross * weight).sum() / (truth.sum() * 3 + 200)
    dice = 1 - (2 * (probability * truth).sum() + 5) / (probability.sum() + truth.sum() + 5)
    return focal + dice


class HardPlaces:
    """Per slab the last voxels that the network took for a lesion and that are none.

    They come out of training itself: no pass over whole slabs is needed to mine them.
    """

    MOST = 48

    def __init__(self, places: dict[str, torch.Tensor] | None = None):
        self.places = {name: rows.cpu().numpy() for name, rows in (places or {}).items()}

    def of(self, name: str) -> np.ndarray:
        return self.places.get(name, np.zeros((0, 3), np.int16))

    def update(self, names: list[str], patches: list[Patch], probability: torch.Tensor) -> None:
        """``probability`` and the patches' truth (n, 1, x, y, z): the worst voxel of each patch."""
        for name, patch, p in zip(names, patches, probability[:, 0].numpy(), strict=True):
            wrong = np.where(ndimage.maximum_filter(np.abs(patch.truth), (7, 7, 3)) > 0, 0, p)
            worst = np.unravel_index(int(wrong.argmax()), wrong.shape)
            if wrong[worst] > 0.3:
                place = patch.in_slab(np.array(worst)).astype(np.int16)
                self.places[name] = np.concatenate([self.of(name), place[None]])[-self.MOST :]

    def state(self) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(rows) for name, rows in self.places.items()}


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to train: ``steps`` or ``minutes`` at most, whichever ends first."""

    steps: int
    batch: int = 8
    channels: int = 24
    rate: float = 2e-3
    seed: int = 0
    minutes: float = 1e9
    start: Path | None = None
    fold: str | None = None
    without: tuple[str, ...] = ()
    check_every: int = 2000


def train(folder: Path, out: Path, plan: Plan, validation: Path | None = None) -> Path:
    """Train on the slabs of ``folder``; checkpoint each 50 steps. Returns the weights' path.

    ``validation`` is a folder of slabs that are searched every ``check_every`` steps: the curve
    in ``out``/curve.json and curve.png says how many of their microbleeds are found at one false
    positive a slab.
    """
    slabs: dict[str, Slab] = {}
    torch.manual_seed(plan.seed)
    network = SpotNet(plan.channels)
    if plan.start:
        network = SpotNet(load_tensors(plan.start)["entry.weight"].shape[0])
        network.load_state_dict(load_tensors(plan.start))
    device = choose_device("auto")
    network = network.to(device, memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=1e-3)
    checkpoint = out / "checkpoint.pt"
    begin, spent, curve, checks, hard = 0, 0.0, [], [], HardPlaces()
    load_slabs(folder, slabs, plan)
    if not slabs:
        raise CMBurdenError(f"{folder}: holds no slab-*.npz; run cmburden train dataset first")
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        begin, spent, curve, checks = (state[k] for k in ("step", "seconds", "curve", "checks"))
        hard = HardPlaces(state["hard"])
    began, running = time.monotonic() - spent, curve[-1][1] if curve else None
    for step in range(begin, plan.steps):
        seconds = time.monotonic() - began
        done = max(step / plan.steps, seconds / (plan.minutes * 60))
        if done >= 1:
            break
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * min(1.0, (step + 1) / 50) * (0.98 * cosine + 0.02)
        rng = np.random.default_rng([plan.seed, step])
        if step % 100 == 0 and not (plan.fold or plan.without):
            # Slabs that were written since: simulation and training may run side by side. Which
            # slabs a fold leaves out depends on who is there, so there it is decided once.
            load_slabs(folder, slabs, plan)
        known = sorted(slabs)
        names = [known[rng.integers(len(known))] for _ in range(plan.batch)]
        patches = [draw_patch(slabs[name], hard.of(name), rng) for name in names]
        images = torch.from_numpy(np.stack([[p.image, p.mask] for p in patches]))
        truth = torch.from_numpy(np.stack([p.truth for p in patches]))[:, None]
        # Half precision where the processor has it (AVX512-BF16) trains twice as fast.
        with torch.autocast(device.type, torch.bfloat16):
            images = images.to(device, memory_format=torch.channels_last_3d)
            logits = network(images).float()
        loss = loss_of(logits, truth.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        hard.update(names, patches, torch.sigmoid(logits.detach()).cpu())
        running = loss.item() if running is None else 0.97 * running + 0.03 * loss.item()
        if validation and step % plan.check_every == plan.check_every - 1:
            checks.append([step + 1, *check(network, validation)])
            print(f"step {step + 1}: sensitivity, at one false positive a slab:", checks[-1][1:])
        if step % 50 == 49:
            # Rounded as it is stored: a training that was stopped goes on with the same figure.
            running = round(running, 5)
            curve.append([step + 1, running, round(seconds, 1)])
            print(f"step {step + 1} loss {running:.4f} {seconds:.0f} s", flush=True)
            state = {
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "seconds": seconds,
                "curve": curve,
                "checks": checks,
                "hard": hard.state(),
            }
            with whole_file(checkpoint) as temporary:
                torch.save(state, temporary)
    if validation:
        checks.append(["end", *check(network, validation)])
    weights = out / "detector.pt"
    with whole_file(weights) as temporary:
        torch.save(
            {k: v.cpu().contiguous().half() for k, v in network.state_dict().items()}, temporary
        )
    write_json(
        out / "curve.json",
        {
            "step_loss_seconds": curve,
            "step_sensitivity_and_at_one_fp": checks,
            "slabs": len(slabs),
        },
    )
    _picture(curve, checks, out / "curve.png")
    return weights


def _picture(curve: list, checks: list, path: Path) -> None:
    """Training loss, and sensitivity on the validation slabs, by step."""
    from matplotlib import rc_context

    from cmburden.evaluate.style import STYLE, new_figure, save

    with rc_context(STYLE):
        figure = new_figure(3.2)
        first, second = figure.subplots(1, 2)
        first.plot([row[0] for row in curve], [row[1] for row in curve], color="#0072B2")
        first.set(xlabel="step", ylabel="loss, running mean", yscale="log")
        last = curve[-1][0] if curve else 0
        steps = [last if row[0] == "end" else row[0] for row in checks]
        for column, name in ((1, "all candidates"), (2, "at one false positive a slab")):
            second.plot(steps, [row[column] for row in checks], "o-", ms=4, label=name)
        second.set(xlabel="step", ylabel="sensitivity on validation slabs", ylim=(0, 1))
        second.legend(loc="lower right")
        save(figure, path)


def check(network: SpotNet, folder: Path, most: int = 12) -> list[float]:
    """Sensitivity of all candidates and at one false positive a slab, on slabs of ``folder``."""
    network.eval()
    scores, right, real, paths = [], [], 0, sorted(Path(folder).glob("slab-*.npz"))[:most]
    for path in paths:
        content = np.load(path, allow_pickle=False)
        found = search(
            network, content["scan"].astype(np.float32), content["scan_mask"], content["affine"],
            next(network.parameters()).device, minimum=0.05, maximum_number=200,
        )  # fmt: skip
        real_ones, faint = (
            tuple(content[name][content["kind"] == kind] for name in ("centre_mm", "radius"))
            for kind in ("microbleed", "faint")
        )
        p = np.array([c.p_cnn for c in found])
        points = np.array([c.centre_mm for c in found]).reshape(-1, 3)
        counts = ~only_near(points, faint, real_ones)
        scores.append(p[counts])
        right.append(hits_by_score(points[counts], *real_ones, p[counts]))
        real += len(real_ones[0])
    network.train()
    score, hit = np.concatenate(scores), np.concatenate(right)
    order = np.argsort(-score, kind="stable")
    false = np.cumsum(~hit[order])
    at_one = np.cumsum(hit[order])[false <= len(paths)]
    return [
        round(float(hit.sum() / max(real, 1)), 4),
        round(float((at_one[-1] if len(at_one) else 0) / max(real, 1)), 4),
    ]


def parser() -> argparse.ArgumentParser:
    """Arguments of the step: checked before a job is queued."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("slabs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time")
    parser.add_argument("--start", type=Path, help="weights to fine-tune, such as the shipped ones")
    parser.add_argument("--validation", type=Path, help="slabs to search while training")
    selection.add_arguments(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """``cmburden train detector SLABS OUT --steps 12000``."""
    args = parser().parse_args(arguments)
    plan = Plan(
        args.steps, args.batch, args.channels, args.rate, args.seed, args.minutes, args.start,
        args.fold, tuple(args.without),
    )  # fmt: skip
    print(json.dumps({k: str(v) for k, v in vars(args).items()}), flush=True)
    print(train(args.slabs, args.out, plan, args.validation))
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
