"""Threads of the numeric libraries in this process, and the end of a worker with its command."""

from __future__ import annotations

import os
import sys
import threading
from multiprocessing import parent_process

from threadpoolctl import threadpool_limits

#: Environment variables that libraries read when they are loaded. ITK has no other setting.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def bound_threads(number: int) -> None:
    """Limit BLAS, OpenMP, ITK and torch to ``number`` threads, for the rest of the process.

    The limit holds at once for libraries that are loaded. Other libraries read the limit from the
    environment when they are loaded. ITK reads its variable once, so that ITK must not be loaded
    yet.
    """
    for name in _VARIABLES:
        os.environ[name] = str(number)
    threadpool_limits(number)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(number)


def end_with_parent() -> None:
    """End this process with the one that started it, even one that is killed."""

    def follow() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
