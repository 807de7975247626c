"""Batches of patches, drawn ahead of the step that learns them, in processes of their own.

A batch depends on seed, step, slabs and the hard places of ``HardPlaces.LAG`` steps before. So it
is the same however many processes draw, and whichever of them draws it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterator, Mapping

import numpy as np
from torch.utils.data import DataLoader, Dataset

from cmburden.core.errors import CMBurdenError
from cmburden.train.patches import Batch, Drawable, HardPlaces, draw_batch, names_of

#: Batches that a process draws ahead, at most, and processes: together fewer than the lag.
AHEAD, MOST_WORKERS = 4, HardPlaces.LAG - 1


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What a process needs to know of a step: hard places by the name of a slab of the batch."""

    step: int
    hard: dict[str, np.ndarray]


class _Drawn(Dataset[Batch]):
    """Batches of ``size`` patches of ``slabs``; an item is what :class:`_Asked` asks for."""

    def __init__(self, slabs: Mapping[str, Drawable], size: int, seed: int) -> None:
        self.slabs, self.size, self.seed = slabs, size, seed

    def names(self, step: int) -> tuple[list[str], np.random.Generator]:
        """The slabs of the patches of ``step``, and the random stream from there on."""
        rng = np.random.default_rng([self.seed, step])
        return names_of(sorted(self.slabs), self.size, rng), rng

    def __getitem__(self, asked: _Asked) -> Batch:
        names, rng = self.names(asked.step)
        return draw_batch(self.slabs, names, asked.hard, rng)


class Batches:
    """Draws the batches of a training; ``waited_s`` is the time that :meth:`of` took, s.

    ``size`` patches a batch; ``workers`` processes draw, or this one for 0.
    """

    def __init__(self, size: int, seed: int, workers: int = 0, *, pinned: bool = False) -> None:
        check_workers(workers)
        self.size, self.seed, self.workers, self.pinned = size, seed, workers, pinned
        self.waited_s = 0.0

    def of(
        self, slabs: Mapping[str, Drawable], hard: HardPlaces, first: int, end: int
    ) -> Generator[Batch, None, None]:
        """The batches of the steps from ``first`` to below ``end``.

        ``hard`` may grow meanwhile. Closing the iterator ends the processes. Raises CMBurdenError
        where a process died.
        """
        drawn = _Drawn(slabs, self.size, self.seed)

        def asked() -> Iterator[_Asked]:
            for step in range(first, end):
                names, _ = drawn.names(step)
                yield _Asked(step, {name: hard.of(name, step) for name in names})

        ahead = None if not self.workers else max(1, min(AHEAD, MOST_WORKERS // self.workers))
        loader = DataLoader(
            drawn,
            batch_size=None,
            sampler=asked(),
            num_workers=self.workers,
            prefetch_factor=ahead,
            # Slabs are hundreds of megabytes: a forked process shares them.
            multiprocessing_context="fork" if self.workers else None,
            pin_memory=self.pinned,
        )
        iterator = iter(loader)
        while True:
            began = time.monotonic()
            try:
                batch = next(iterator, None)
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise CMBurdenError(
                    f"a process that draws patches ended ({error}); the training goes on from its "
                    "checkpoint with the same command: give fewer --workers where memory ran out"
                ) from error
            self.waited_s += time.monotonic() - began
            if batch is None:
                return
            yield batch


def check_workers(workers: int) -> None:
    """CMBurdenError where so many processes cannot draw."""
    if not 0 <= workers <= MOST_WORKERS:
        raise CMBurdenError(f"--workers {workers}: give a number from 0 to {MOST_WORKERS}")
