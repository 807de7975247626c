"""Views that ultralytics varies, in processes: each variation has a random stream of its own.

Ultralytics draws from the global streams of a process, which depend on who draws and on what was
drawn before. Here each view's stream follows from seed, epoch and view: the same for any number of
processes, and after a stop.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

#: Batches that a process draws ahead.
_AHEAD = 4


class _Seeded(Dataset[Any]):
    """The views of ``dataset``; an item is asked for by epoch and number."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        # Ultralytics asks its dataset for labels and settings.
        if name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, asked: tuple[int, int]) -> Any:
        stream = np.random.SeedSequence([self.seed, *asked]).generate_state(3)
        random.seed(int(stream[0]))
        np.random.seed(int(stream[1]))
        torch.manual_seed(int(stream[2]))
        return self.dataset[asked[1]]


class _Order(Sampler[tuple[int, int]]):
    """Epoch and number of each of ``count`` views, in an order that follows from seed and epoch."""

    def __init__(self, count: int, seed: int, epoch: Callable[[], int]) -> None:
        self.count, self.seed, self.epoch = count, seed, epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch()
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        return ((epoch, int(number)) for number in order)


class ViewLoader(DataLoader[Any]):
    """Batches of ``size`` views of ultralytics' ``dataset`` for the epoch that ``epoch()`` says.

    ``workers`` processes vary them, or this one for 0.
    """

    def __init__(
        self,
        dataset: Any,
        size: int,
        seed: int,
        epoch: Callable[[], int],
        workers: int,
        *,
        pinned: bool,
    ) -> None:
        super().__init__(
            _Seeded(dataset, seed),
            batch_size=min(size, len(dataset)),
            sampler=_Order(len(dataset), seed, epoch),
            num_workers=workers,
            prefetch_factor=_AHEAD if workers else None,
            # The views lie in memory: a forked process shares them.
            multiprocessing_context="fork" if workers else None,
            collate_fn=dataset.collate_fn,
            pin_memory=pinned,
        )

    def reset(self) -> None:
        """Nothing: each epoch has new processes, which see what ultralytics has changed."""
