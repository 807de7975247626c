"""The precision in which networks calculate: single everywhere, or what is fast on the device.

In single precision all devices give the same results up to rounding, so that a cohort whose scans
were worked on by different machines is one cohort. A half precision adds and loses candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cmburden.core.errors import CMBurdenError

SINGLE, FAST = "single", "fast"


def half_of(device: torch.device) -> torch.dtype | None:
    """The half precision that is fast on ``device``; None where single precision is faster.

    A CPU without bfloat16 instructions is slower in bfloat16 than in single precision.
    """
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16") else None


@contextmanager
def calculating(precision: str, device: torch.device) -> Iterator[None]:
    """Networks calculate in ``precision`` (``single`` or ``fast``) on ``device`` in the context.

    A GPU's TensorFloat-32, which has the 10 bits of half precision, is off in single precision.

    Raises
    ------
    CMBurdenError
        Where there is no such precision.
    """
    casting = autocast(precision, device)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        _allow_tf32(precision == FAST, precision == FAST)
        with casting:
            yield
    finally:
        _allow_tf32(*before)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which torch casts to ``precision``: the part that each thread has for itself.

    Raises CMBurdenError where there is no such precision.
    """
    if precision not in (SINGLE, FAST):
        raise CMBurdenError(f"precision {precision!r} is unknown; use {SINGLE} or {FAST}")
    half = half_of(device) if precision == FAST else None
    return torch.autocast(device.type, half, enabled=half is not None)


def _allow_tf32(convolutions: bool, products: bool) -> None:
    """Switch TensorFloat-32 on or off for convolutions and for products of matrices."""
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products
