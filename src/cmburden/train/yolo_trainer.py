"""Ultralytics' trainer, whose checkpoint holds tensors and plain values.

Ultralytics pickles the whole network into its checkpoints, and unpickles it to go on. A pickle is a
program: whoever writes into OUT would run code here. This trainer reads nothing that can run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

# Ultralytics reads its switches when it is imported: this module sets them.
from cmburden.verify import network as design

# isort: split
import torch
from ultralytics.models.yolo.detect import DetectionTrainer

from cmburden.core.errors import CMBurdenError
from cmburden.train import plain_files
from cmburden.train.view_loader import ViewLoader

#: Times that a training goes back to the checkpoint after a loss that is no number.
MOST_RECOVERIES = 3


class Trainer(DetectionTrainer):
    """Trains the verifier from random weights, from given ones, or from a checkpoint.

    Parameters
    ----------
    settings : dict
        Settings of ultralytics.
    checkpoint : Path
        The file that is written after each epoch.
    plan : dict
        What is trained, in plain values: the checkpoint holds it.
    first : dict of tensors, optional
        Weights to begin with.
    stored : dict, optional
        Content of a checkpoint to go on from.
    workers : int
        Processes that vary the views.
    """

    # Ultralytics declares these as None, and sets them when the training begins.
    model: Any
    ema: Any
    optimizer: Any
    scheduler: Any
    loss: Any
    fitness: Any
    best_fitness: Any

    def __init__(
        self,
        settings: dict[str, Any],
        checkpoint: Path,
        plan: dict[str, Any],
        first: dict[str, torch.Tensor] | None = None,
        stored: dict[str, Any] | None = None,
        workers: int = 0,
    ):
        # With ``resume`` ultralytics keeps the table of the epochs before.
        super().__init__(overrides=settings | {"resume": stored is not None})
        self.checkpoint, self.plan = checkpoint, plan
        self.first, self.stored, self.workers = first, stored, workers

    def check_resume(self, overrides: dict[str, Any]) -> None:
        """Take the settings as given: none are read from a checkpoint."""
        self.resume = False

    def get_dataloader(
        self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """Views to learn from, each with a random stream of its own; others as ultralytics does."""
        if mode != "train":
            return super().get_dataloader(dataset_path, batch_size, rank, mode)
        return ViewLoader(
            self.build_dataset(dataset_path, mode, batch_size),
            batch_size,
            self.args.seed,
            lambda: self.epoch,
            self.workers,
            pinned=self.device.type == "cuda",
        )

    def setup_model(self) -> None:
        """Build the network in memory: ultralytics evaluates parts of an architecture file."""
        self.model = design.untrained()
        if self.first is not None:
            self.model.load_state_dict(self.first)

    def resume_training(self, ckpt: dict | None) -> None:
        """Go on after the epoch of the checkpoint."""
        if self.stored is not None:
            self._restore(self.stored)
            self.start_epoch = self.stored["epoch"] + 1

    def save_model(self) -> bool:
        """Write the checkpoint, whole or not at all."""
        self._mend_mean()
        content = {
            "plan": self.plan,
            "epoch": self.epoch,
            "network": self.model.state_dict(),
            "mean": self.ema.ema.state_dict(),
            "updates": self.ema.updates,
            "optimiser": self.optimizer.state_dict(),
            "best_fitness": None if self.best_fitness is None else float(self.best_fitness),
            "stopper": [float(self.stopper.best_fitness), int(self.stopper.best_epoch)],
        }
        plain_files.save(self.checkpoint, content)
        return True

    def final_eval(self) -> None:
        """Leave out ultralytics' validation of its own checkpoints, of which there are none."""

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Go back to the checkpoint after a loss that is no number; whether the epoch is redone."""
        finite = self.loss is None or bool(self.loss.isfinite())
        if finite and (self.fitness is None or math.isfinite(self.fitness)):
            return False
        self.nan_recovery_attempts += 1
        if epoch == self.start_epoch or self.nan_recovery_attempts > MOST_RECOVERIES:
            raise CMBurdenError(
                f"{self.checkpoint}: the loss of epoch {epoch + 1} is no number; give a lower "
                "--rate and another OUT"
            )
        self._restore(plain_files.load(self.checkpoint, self.device))
        self.scheduler.last_epoch = epoch - 1
        return True

    def _restore(self, content: dict[str, Any]) -> None:
        """Take over what :meth:`save_model` wrote.

        Raises
        ------
        CMBurdenError
            Where the content is that of another network or another version.
        """
        try:
            self.model.load_state_dict(content["network"])
            self.ema.ema.load_state_dict(content["mean"])
            self.ema.updates = content["updates"]
            self.optimizer.load_state_dict(content["optimiser"])
            self.best_fitness = content["best_fitness"]
            self.stopper.best_fitness, self.stopper.best_epoch = content["stopper"]
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise CMBurdenError(
                f"{self.checkpoint}: not a checkpoint of this version ({type(error).__name__}); "
                "remove it to train from the start"
            ) from error

    def _mend_mean(self) -> None:
        """Replace tensors of the running mean that are not finite by those of the network.

        A mean that once held NaN holds it for ever.
        """
        network = self.model.state_dict()
        for name, tensor in self.ema.ema.state_dict().items():
            if not torch.isfinite(tensor).all() and torch.isfinite(network[name]).all():
                tensor.copy_(network[name])
