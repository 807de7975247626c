"""How many threads the numeric libraries of this process may use."""

from __future__ import annotations

import os
import sys

from threadpoolctl import threadpool_limits

#: What libraries ask when they are loaded. ITK has no other way than this.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def bound_threads(number: int) -> None:
    """Bound BLAS, OpenMP, ITK and torch to ``number`` threads, for the rest of the process.

    Libraries that are loaded already are bound at once, the others by the environment when they are
    loaded. ITK must not be loaded yet: ITK reads its variable once.
    """
    for name in _VARIABLES:
        os.environ[name] = str(number)
    threadpool_limits(number)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(number)
