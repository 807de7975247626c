"""Trains the 3D CNN on slabs. A training that was stopped resumes from its checkpoint."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.files import write_json
from cmburden.detect.candidates import OnDevice, search
from cmburden.detect.network import SpotNet
from cmburden.models.weights import choose_device, load_tensors
from cmburden.stats.matching import hits_by_score, only_near
from cmburden.train import plain_files, precisions, selection, slabs
from cmburden.train.batches import Batches, check_workers
from cmburden.train.patches import Batch, Drawable, HardPlaces

#: Steps between two checkpoints, and between two points of the curve.
CHECKPOINT_STEPS = 50
#: Steps between two looks for slabs that were written since.
RELOAD_STEPS = 100
#: The learning rate rises to its highest over so many steps and ends at this share of it.
WARM_UP_STEPS, LAST_SHARE = 50, 0.02
WEIGHT_DECAY, GRADIENT_NORM = 1e-3, 1.0
#: Share of a step's loss in the running mean of the curve.
NEW_LOSS_SHARE = 0.03
#: Constants of the loss. Unmeasured: focusing exponent and lesion weight of the cross-entropy, the
#: truth from which a voxel has that weight, the divisor's share of lesion voxels and least value,
#: and the term that keeps the Dice part finite in batches without a lesion.
FOCUS, LESION_WEIGHT, LESION_FROM = 1.5, 8.0, 0.3
PER_LESION_VOXEL, LEAST_DIVISOR, DICE_SMOOTHING = 3, 200, 5
#: Validation: slabs that are searched, their least probability and most candidates.
CHECKED_SLABS, CHECKED_P, CHECKED_CANDIDATES = 12, 0.05, 200


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """How the detector is trained.

    The learning rate follows ``steps`` alone. ``minutes`` of training, counted over all restarts,
    end the training early, with the weights that it has then. ``workers`` processes draw patches;
    their number changes nothing.
    """

    steps: int
    batch: int = 8
    channels: int = 24
    rate: float = 2e-3
    seed: int = 0
    minutes: float = math.inf
    start: Path | None = None
    fold: str | None = None
    without: tuple[str, ...] = ()
    check_every: int = 2000
    workers: int = 0
    precision: str = precisions.SINGLE

    @property
    def selects(self) -> bool:
        """Whether slabs are left out."""
        return bool(self.fold or self.without)


@dataclasses.dataclass
class State:
    """All that a training step changes; its file is the checkpoint.

    Attributes
    ----------
    step : int
        Steps that are done.
    seconds : float
        Time of training so far, s, over all restarts.
    curve : list of [step, running mean of the loss, seconds]
        A row each ``CHECKPOINT_STEPS``.
    checks : list of [step or "end", sensitivity, sensitivity at one false positive a slab]
        The results of :func:`check`.
    """

    network: SpotNet
    optimiser: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0
    curve: list[list[float]] = dataclasses.field(default_factory=list)
    checks: list[list] = dataclasses.field(default_factory=list)
    hard: HardPlaces = dataclasses.field(default_factory=HardPlaces)
    running: float | None = None
    precision: str = precisions.SINGLE

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        content = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "curve": self.curve,
            "checks": self.checks,
            "hard": self.hard.state(),
            "precision": self.precision,
        }
        plain_files.save(path, content)

    def load(self, path: Path, device: torch.device) -> None:
        """Take over the checkpoint ``path``; CMBurdenError where it is none of this version."""
        content = plain_files.load(path, device)
        try:
            self.network.load_state_dict(content["network"])
            self.optimiser.load_state_dict(content["optimiser"])
            self.step, self.seconds = int(content["step"]), float(content["seconds"])
            self.curve, self.checks = list(content["curve"]), list(content["checks"])
            self.hard = HardPlaces(content["hard"])
            self.running = self.curve[-1][1] if self.curve else None
            before = str(content["precision"])
        except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise CMBurdenError(
                f"{path}: not a checkpoint of this version or of these options "
                f"({type(error).__name__}); remove it to train from the start"
            ) from error
        if before != self.precision:
            raise CMBurdenError(
                f"{path}: of a training in {before} precision; give --precision {before} to go on, "
                "or name another OUT"
            )

    def add_loss(self, loss: float) -> None:
        """Count a step and its loss; add a row to the curve each ``CHECKPOINT_STEPS``."""
        if self.running is None:
            self.running = loss
        else:
            self.running = (1 - NEW_LOSS_SHARE) * self.running + NEW_LOSS_SHARE * loss
        self.step += 1
        if self.step % CHECKPOINT_STEPS == 0:
            # The curve holds the rounded mean, from which a restarted training goes on.
            self.running = round(self.running, 5)
            self.curve.append([self.step, self.running, round(self.seconds, 1)])
            print(f"step {self.step} loss {self.running:.4f} {self.seconds:.0f} s", flush=True)


def begin(plan: TrainingPlan, checkpoint: Path, device: torch.device) -> State:
    """The state to train on from: of ``checkpoint``, or else of ``plan``'s first weights."""
    torch.manual_seed(plan.seed)
    network = SpotNet(plan.channels)
    if plan.start:
        weights = load_tensors(plan.start)
        try:
            network = SpotNet(weights["entry.weight"].shape[0])
            network.load_state_dict(weights)
        except (RuntimeError, LookupError) as error:
            raise CMBurdenError(
                f"{plan.start}: not weights of this version's CNN; name those of this version"
            ) from error
    network = network.to(device).to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=WEIGHT_DECAY)
    state = State(network, optimiser, precision=plan.precision)
    if checkpoint.exists():
        state.load(checkpoint, device)
    return state


def load_slabs(folder: Path, loaded: dict[str, Drawable], plan: TrainingPlan | None = None) -> None:
    """Add to ``loaded`` (by file name) the slabs of ``folder`` that it lacks.

    Slabs that ``plan`` leaves out (its fold, its acquisitions) are not loaded.
    """
    paths = [path for path in slabs.slab_files(folder) if path.name not in loaded]
    if plan and plan.selects:
        paths = selection.select(paths, fold=plan.fold, without=list(plan.without))
    for path in paths:
        loaded[path.name] = Drawable(slabs.load(path, slabs.PatchSource))


def schedule(step: int, plan: TrainingPlan) -> float:
    """The learning rate of ``step`` (from 0): linear warm-up, then half a cosine.

    >>> plan = TrainingPlan(steps=1000, rate=1.0)
    >>> [round(schedule(step, plan), 3) for step in (0, 49, 500, 1000)]
    [0.02, 0.994, 0.51, 0.02]
    """
    cosine = 0.5 * (1 + math.cos(math.pi * (step / plan.steps)))
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    return plan.rate * warm_up * ((1 - LAST_SHARE) * cosine + LAST_SHARE)


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Focal cross-entropy plus soft Dice over the batch, for lesions of few voxels.

    ``logits`` and ``truth`` are (n, 1, x, y, slice); voxels whose truth is below 0 take no part.
    """
    counts = (truth >= 0).float()
    truth = truth * counts
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = torch.sigmoid(logits) * counts
    wrong = (probability - truth).abs()
    weight = torch.where(truth > LESION_FROM, LESION_WEIGHT, 1.0)
    divisor = truth.sum() * PER_LESION_VOXEL + LEAST_DIVISOR
    focal = (wrong**FOCUS * cross * weight).sum() / divisor
    both = (probability * truth).sum()
    either = probability.sum() + truth.sum()
    dice = 1 - (2 * both + DICE_SMOOTHING) / (either + DICE_SMOOTHING)
    return focal + dice


def learn(state: State, batch: Batch, device: torch.device) -> tuple[float, np.ndarray]:
    """One step of the optimiser; the loss, and the probabilities (n, x, y, slice) before it."""
    there = batch.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=state.precision == precisions.MIXED):
        logits = state.network(there.images)
    logits = logits.float()
    loss = loss_of(logits, there.truth)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), GRADIENT_NORM)
    state.optimiser.step()
    return loss.item(), torch.sigmoid(logits.detach())[:, 0].cpu().numpy()


def train(folder: Path, out: Path, plan: TrainingPlan, validation: Path | None = None) -> Path:
    """Train on the slabs of ``folder``; the path of the weights, ``out``/detector.pt.

    ``validation`` is a folder of slabs that are searched every ``plan.check_every`` steps and at
    the end. ``out``/curve.json and curve.png hold the results. The same plan, slabs and kind of
    processor give the same weights, with or without a stop in between, with any number of workers.
    """
    check_workers(plan.workers)
    device, loaded = choose_device("auto"), dict[str, Drawable]()
    precisions.check(plan.precision, device)
    state = begin(plan, out / "checkpoint.pt", device)
    load_slabs(folder, loaded, plan)
    if not loaded:
        raise CMBurdenError(f"{folder}: holds no slab-*.npz; run cmburden train dataset first")
    batches = Batches(plan.batch, plan.seed, plan.workers, pinned=device.type == "cuda")
    began = time.monotonic() - state.seconds
    while state.step < plan.steps:
        if state.step % RELOAD_STEPS == 0 and not plan.selects:
            # Simulation and training may run side by side. Which slabs a fold leaves out depends
            # on who is there, so a fold is chosen once.
            load_slabs(folder, loaded, plan)
        end = min(plan.steps, (state.step // RELOAD_STEPS + 1) * RELOAD_STEPS)
        drawn = batches.of(loaded, state.hard, state.step, end)
        with contextlib.closing(drawn):
            for batch in drawn:
                state.seconds = time.monotonic() - began
                if state.seconds >= plan.minutes * 60:
                    break
                step(state, batch, plan, device)
                _after(state, out, plan, validation)
            else:
                continue
        break
    if validation:
        state.checks.append(["end", *check(state.network, validation)])
    return write_results(state, out, slab_count=len(loaded))


def step(state: State, batch: Batch, plan: TrainingPlan, device: torch.device) -> None:
    """Learn ``batch``, and keep what the network wrongly took for a lesion."""
    for group in state.optimiser.param_groups:
        group["lr"] = schedule(state.step, plan)
    loss, probability = learn(state, batch, device)
    state.hard.update(state.step, batch, probability)
    state.add_loss(loss)


def _after(state: State, out: Path, plan: TrainingPlan, validation: Path | None) -> None:
    """Check the network and write the checkpoint, where it is time to."""
    if validation and state.step % plan.check_every == 0:
        state.checks.append([state.step, *check(state.network, validation)])
        print(f"step {state.step}: sensitivity, at one false positive:", state.checks[-1][1:])
    if state.step % CHECKPOINT_STEPS == 0:
        state.save(out / "checkpoint.pt")


def write_results(state: State, out: Path, slab_count: int) -> Path:
    """Write weights in half precision, curve.json and curve.png; the path of the weights."""
    weights = out / "detector.pt"
    tensors = {k: v.cpu().contiguous().half() for k, v in state.network.state_dict().items()}
    plain_files.save(weights, tensors)
    content = {
        "step_loss_seconds": state.curve,
        "step_sensitivity_and_at_one_fp": state.checks,
        "slabs": slab_count,
    }
    precisions.state(weights, state.precision)
    write_json(out / "curve.json", content)
    _picture(state.curve, state.checks, out / "curve.png")
    return weights


def _picture(curve: list[list[float]], checks: list[list], path: Path) -> None:
    """Training loss, and sensitivity on the validation slabs, by step."""
    from matplotlib import rc_context

    from cmburden.evaluate.style import STYLE, new_figure, save

    with rc_context(STYLE):
        figure = new_figure(3.2)
        left, right = figure.subplots(1, 2)
        left.plot([row[0] for row in curve], [row[1] for row in curve], color="#0072B2")
        left.set(xlabel="step", ylabel="loss, running mean", yscale="log")
        last = curve[-1][0] if curve else 0
        steps = [last if row[0] == "end" else row[0] for row in checks]
        for column, name in ((1, "all candidates"), (2, "at one false positive a slab")):
            right.plot(steps, [row[column] for row in checks], "o-", ms=4, label=name)
        right.set(xlabel="step", ylabel="sensitivity on validation slabs", ylim=(0, 1))
        right.legend(loc="lower right")
        save(figure, path)


def check(network: SpotNet, folder: Path, most: int = CHECKED_SLABS) -> list[float]:
    """Sensitivity of all candidates, and at one false positive a slab, on slabs of ``folder``.

    The first ``most`` slabs are searched. Candidates at faint lesions do not count.
    """
    network.eval()
    asked = OnDevice(network, next(network.parameters()).device)
    paths = slabs.slab_files(folder)[:most]
    scores, hits, microbleeds = [], [], 0
    for path in paths:
        slab = slabs.load(path, slabs.Slab)
        candidates = search(
            asked.answer,
            slab.scan.astype(np.float32),
            slab.scan_mask,
            slab.affine,
            minimum=CHECKED_P,
            maximum_number=CHECKED_CANDIDATES,
        )
        true, faint = slab.sources_mm(slabs.MICROBLEED), slab.sources_mm(slabs.FAINT)
        p = np.array([candidate.p_cnn for candidate in candidates])
        points = np.array([candidate.centre_mm for candidate in candidates]).reshape(-1, 3)
        counts = ~only_near(points, faint, true)
        scores.append(p[counts])
        hits.append(hits_by_score(points[counts], *true, p[counts]))
        microbleeds += len(true.radius)
    network.train()
    score, hit = np.concatenate(scores), np.concatenate(hits)
    order = np.argsort(-score, kind="stable")
    false_positives = np.cumsum(~hit[order])
    at_one = np.cumsum(hit[order])[false_positives <= len(paths)]
    return [
        round(float(hit.sum() / max(microbleeds, 1)), 4),
        round(float((at_one[-1] if len(at_one) else 0) / max(microbleeds, 1)), 4),
    ]


def parser() -> argparse.ArgumentParser:
    """The step's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("slabs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="stop early, after so much training; the learning rate follows --steps alone",
    )
    parser.add_argument("--start", type=Path, help="weights to fine-tune, such as the shipped ones")
    precisions.add_arguments(parser, "draw patches")
    parser.add_argument("--validation", type=Path, help="slabs to search while training")
    selection.add_arguments(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """``cmburden train detector SLABS OUT --steps 12000``."""
    args = parser().parse_args(arguments)
    plan = TrainingPlan(
        steps=args.steps,
        batch=args.batch,
        channels=args.channels,
        rate=args.rate,
        seed=args.seed,
        minutes=args.minutes,
        start=args.start,
        fold=args.fold,
        without=tuple(args.without),
        workers=args.workers,
        precision=args.precision,
    )
    print(json.dumps({k: str(v) for k, v in vars(args).items()}), flush=True)
    print(train(args.slabs, args.out, plan, args.validation))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
