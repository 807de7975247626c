"""Limits the number of threads of the numeric libraries in this process."""

from __future__ import annotations

import os
import sys

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
