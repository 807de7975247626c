"""Text in the order that people expect. Cheap to import: the standard library alone."""

from __future__ import annotations

import re


def natural(text: str | None) -> tuple:
    """Sort key that puts ses-2 before ses-10; no session comes first."""
    parts = re.split(r"(\d+)", text or "")
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)
