"""Passes of a network side by side, each calculated as if it were alone.

On several threads torch cuts a convolution's sums in other places, and the last bits differ. On a
CPU each pass therefore has one thread, and the passes are the parallelism: results do not depend on
the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from cmburden.models.precision import autocast, calculating

#: Passes side by side at most: each holds its layers in memory.
_MOST = 4
Result = TypeVar("Result")


def side_by_side(
    passes: Sequence[Callable[[], Result]], device: torch.device, precision: str
) -> list[Result]:
    """Results of ``passes`` in their order, without gradients and in ``precision``.

    On a CPU as many run at a time as torch has threads, at most ``_MOST``; on a GPU one, since it
    works on each with all of its cores.
    """

    def alone(one: Callable[[], Result]) -> Result:
        # Both are settings of a thread.
        with torch.inference_mode(), autocast(precision, device):
            return one()

    before = torch.get_num_threads()
    threads = min(_MOST, before, len(passes))
    with calculating(precision, device):
        if device.type != "cpu" or not passes:
            return [alone(one) for one in passes]
        torch.set_num_threads(1)
        try:
            if threads == 1:
                return [alone(one) for one in passes]
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(alone, passes))
        finally:
            torch.set_num_threads(before)
