"""The two kinds of failure: a user's or machine's problem stops; a scan's problem is recorded.

``CMBurdenError`` is what a user can mend (configuration, paths, labels): the command line prints
its sentence and exits 2. ``ScanError`` says what is wrong with one scan: a stage turns it into a
record with a reason code and the cohort goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

#: Every reason a scan can fail or be excluded for: code -> what to do about it.
REASONS: dict[str, str] = {
    "unreadable": "replace the file: it cannot be read as NIfTI",
    "not_present": "get the file's content (datalad get, git annex get), then run again",
    "empty_file": "replace the file: it has no bytes",
    "truncated": "copy the file again: it ends before its header says",
    "not_finite": "repair the image: it holds NaN or infinite voxels",
    "not_3d": "give one 3D volume per file (a file per echo)",
    "constant": "replace the image: all its voxels have one value",
    "is_phase": "name the magnitude image: this one looks like phase",
    "voxel_size": "use a scan whose voxels are within preprocess.max_voxel_mm",
    "coverage": "use a scan that covers the brain, or lower preprocess.min_coverage",
    "not_brain": "check the body part and the orientation of the scan",
    "polarity": "check the sequence: tissue contrast is not that of GRE or SWI",
    "brain_mask": "look at the brain mask: its volume or shape is implausible",
    "registration": "look at the scan: it could not be aligned to MNI152",
    "no_scan": "check index.suffixes and the filters: the participant has no usable scan",
    "wrong_suffix": "add the suffix to index.suffixes if it is a GRE or SWI scan",
    "part_phase": "phase images are not searched; they are kept for reference",
    "echo_not_chosen": "another echo of the same scan is used (index.echo_time_ms)",
    "filtered": "excluded by the configured filters",
    "duplicate": "another file gives the same scan",
    "cohort": "add a cohort whose participant_pattern matches",
    "upstream": "see the stage that failed before",
    "not_run": "run again: the stage has left no result for this scan",
}


class CMBurdenError(Exception):
    """A mistake that the user can mend; ``str(error)`` is one sentence: what, where, what to do."""


def sentence(error: CMBurdenError | OSError) -> str:
    """What a user reads of an error. Full disks and closed folders come from anywhere."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}; free it and run again: what is done is kept"
    return str(error)


def told(main: Callable[[], int | None], prefix: str = "") -> int | None:
    """Exit code of a command's ``main``; a user's mistake is a sentence after ``prefix``, and 2."""
    try:
        return main()
    except (CMBurdenError, OSError) as error:
        print(f"{prefix}{sentence(error)}", file=sys.stderr)
        return 2


class ScanError(Exception):
    """What is wrong with one scan.

    Parameters
    ----------
    reason : str
        A code of ``REASONS``.
    message : str
        What was found, in one sentence, without the path (the record has it).
    excluded : bool
        True when the scan is sound but outside what is asked for (not a failure).
    """

    def __init__(self, reason: str, message: str, *, excluded: bool = False):
        if reason not in REASONS:
            raise KeyError(f"unknown reason code {reason!r}")
        super().__init__(f"{message} To do: {REASONS[reason]}.")
        self.reason = reason
        self.excluded = excluded

    @property
    def status(self) -> str:
        return "excluded" if self.excluded else "failed"
