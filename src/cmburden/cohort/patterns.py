"""Anatomical pattern of a person's microbleeds, and the imaging item of Boston criteria v2.0."""

from __future__ import annotations

from collections.abc import Sequence


def is_boston_imaging(groups: Sequence[str]) -> bool:
    """Imaging item of the Boston criteria v2.0: at least 2 microbleeds, all of them lobar.

    The criteria themselves need clinical data, which CMBurden has not.

    >>> is_boston_imaging(["lobar", "lobar"]), is_boston_imaging(["lobar", "lobar", "deep"])
    (True, False)
    """
    return len(groups) >= 2 and set(groups) == {"lobar"}


def pattern_of(groups: list[str]) -> str:
    """Pattern of a person from the groups of their definite microbleeds.

    >>> pattern_of([]), pattern_of(["lobar", "deep"])
    ('none', 'mixed')
    """
    placed = {group for group in groups if group != "unknown"}
    if not placed:
        # 'none' would deny microbleeds of unknown region; 'mixed' claims no region for them.
        return "none" if not groups else "mixed"
    if placed == {"lobar"}:
        return "strictly lobar"
    return "mixed" if "lobar" in placed else "strictly deep/infratentorial"
