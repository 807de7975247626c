"""Two kinds of failure: one that the user mends stops the command; one of a scan is recorded.

``CMBurdenError`` is a mistake in the configuration, a path or a label. The command line prints the
sentence of the error and exits with code 2. A full disk and a folder without permission
(``MENDABLE``) end a command in the same way. Any other ``OSError`` is a bug and keeps its
traceback. ``ScanError`` is a fault of one scan. A stage turns a ``ScanError`` into a record with a
reason code, and the cohort goes on.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

#: Every reason for which a scan fails or is excluded: reason code -> advice.
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
    "slices": "convert the DICOM files again: slices are missing or in the wrong order",
    "brain_mask": "look at the brain mask: its volume or shape is implausible",
    "orientation": "mend the header's orientation (sform, qform): convert the DICOM files again",
    "score": "run again; if other scans fail alike, check the device and the model",
    "registration": "look at the scan: it could not be aligned to MNI152",
    "no_scan": "check index.suffixes and the filters: the participant has no usable scan",
    "reader": "look at the scan; if the reader erred, the reader says so in cmburden review",
    "no_access": "give yourself the permission, or repair the disk, and run again",
    "bad_name": "rename it as BIDS does, such as sub-01_ses-1_T2starw with .nii or .nii.gz",
    "wrong_format": "give it as NIfTI (.nii or .nii.gz) if it is a scan; dcm2niix converts DICOM",
    "wrong_folder": "if it is a GRE or SWI scan, move it to its participant's and session's anat/",
    "other_kind": "nothing; only GRE and SWI images are searched",
    "wrong_suffix": "add the suffix to index.suffixes if it is a GRE or SWI scan",
    "part_phase": "use the magnitude image: other parts of the signal are not searched",
    "projection": "use the image that the projection was made of",
    "single_coil": "use the image that combines all receive coils",
    "echo_not_chosen": "another echo of the same scan is used (index.echo_time_ms)",
    "rec_not_chosen": "to use this one, choose the reconstruction in the BIDS filter file",
    "filtered": "excluded by the configured filters",
    "duplicate": "another file gives the same scan",
    "crashed": "read the job's log; to run the scan again: cmburden retry; if it crashes again, "
    "report it with the log, or leave the scan out",
    "damaged": "run again: CMBurden makes the damaged file anew",
    "upstream": "see the stage that failed before",
    "not_run": "run again: the stage has left no result for this scan",
}


#: Reasons that a machine or a model that is ill gives, rather than the scan.
ILL = ("crashed", "score")


def with_advice(reason: str, fact: str) -> str:
    """The message of a record: the sentence ``fact``, and what to do about ``reason``."""
    return f"{fact} To do: {REASONS[reason]}."


class _Pickled(Exception):
    """An error that another process has as it is here, whatever arguments its class takes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[_Pickled], arguments: tuple[Any, ...], state: dict[str, Any]) -> _Pickled:
    """The error of a ``kind`` that another process pickled."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class CMBurdenError(_Pickled):
    """A mistake that the user can mend; ``str(error)`` is one sentence: what, where, what to do."""


class DamagedFile(CMBurdenError):
    """A file that CMBurden made is missing or cannot be read; ``path`` names the file.

    ``fault`` is what is wrong with it, without the path, for a record of one scan.
    """

    def __init__(self, path: Path, fault: str, advice: str):
        super().__init__(f"{path}: cannot be read ({fault}); {advice}")
        self.path = path
        self.fault = fault


#: Errors of the operating system that the user mends: errno -> advice. An error with another errno
#: is a bug, or is caught where the code knows the cause: advice about disks would be wrong.
MENDABLE: dict[int, str] = {
    errno.ENOSPC: "free space there and run again: what is done is kept",
    errno.EDQUOT: "free space within the quota and run again: what is done is kept",
    errno.EACCES: "give yourself the permission, or name another place, and run again",
    errno.EPERM: "let the owner allow this, or name another place, and run again",
    errno.EROFS: "name a place that is not mounted read-only, and run again",
    errno.ENAMETOOLONG: "use shorter names of folders and files, and run again",
    errno.ELOOP: "mend the link, which leads back to itself, and run again",
}


def sentence(error: BaseException, named: Iterable[str] = ()) -> str | None:
    """The sentence for an ``error`` that the user can mend; None for a bug.

    ``named`` are the arguments of a command. A missing file is the user's mistake if one of the
    arguments names the file, and a bug if none does.
    """
    if isinstance(error, CMBurdenError):
        return str(error)
    if not isinstance(error, OSError):
        return None
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in MENDABLE:
        return f"{where}{error.strerror or error}; {MENDABLE[error.errno]}"
    wrong_path = isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError))
    if wrong_path and str(error.filename) in {str(Path(name)) for name in named}:
        return f"{where}{error.strerror}; name another"
    return None


#: A path from the root on, in the text of an exception: it may name a person's folder.
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\][^\s'\"<>|:;,()]*[/\\][^\s'\"<>|:;,()]*")
#: Longest text of an exception in a record, and longest text that is searched for paths.
_LONGEST_TEXT, _LONGEST_SEARCHED = 200, 2000


def short_text(error: BaseException) -> str:
    """Type of ``error`` and the start of its text, without paths, for a scan's record.

    >>> short_text(ValueError("no /data/sub-Smith/x.nii: wrong shape"))
    'ValueError: no PATH: wrong shape'
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(printable(text[:_LONGEST_SEARCHED]).split())
    text = _PATH.sub("PATH", text)[:_LONGEST_TEXT].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def printable(text: str) -> str:
    """``text`` without characters that no UTF-8 file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def exit_code(
    main: Callable[[], int | None], prefix: str = "", named: Iterable[str] | None = None
) -> int | None:
    """Run a command's ``main`` and return its exit code.

    An error that the user can mend is printed as a sentence after ``prefix``; the code is then 2.
    ``named`` are the command's arguments, by default those of this process.
    """
    try:
        return main()
    except (CMBurdenError, OSError) as error:
        advice = sentence(error, sys.argv[1:] if named is None else named)
        if advice is None:
            raise
        print(f"{prefix}{advice}", file=sys.stderr)
        return 2


class ScanError(_Pickled):
    """A fault of one scan.

    Parameters
    ----------
    reason : str
        A code of ``REASONS``.
    message : str
        The fault in one sentence, without the path, which the record holds.
    excluded : bool
        True if the scan is sound but unfit for the purpose. The scan is then no failure.
    """

    def __init__(self, reason: str, message: str, *, excluded: bool = False):
        if reason not in REASONS:
            raise KeyError(f"unknown reason code {reason!r}")
        super().__init__(with_advice(reason, message))
        self.reason = reason
        self.excluded = excluded
        #: Measures taken before the fault; the scan's record holds them.
        self.measures: dict[str, Any] = {}

    @property
    def status(self) -> str:
        return "excluded" if self.excluded else "failed"
