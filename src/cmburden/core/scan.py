"""Value objects that stages pass on: a scan, and what became of a scan in a stage."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

from cmburden.core.errors import printable, with_advice
from cmburden.core.files import read_json, write_json

_LOG = logging.getLogger(__name__)

#: Measure of preprocess, and column of `scans`: the header says which side is the person's left.
LEFT_RIGHT = "left_right_known"
#: Measure of preprocess, True where the image came without skull; absent of all other scans.
SKULL_STRIPPED = "skull_stripped"


@dataclasses.dataclass(frozen=True)
class Scan:
    """One scan of the manifest: a magnitude GRE or SWI volume.

    ``entities`` are the BIDS entities of the source in their order (short keys: sub, ses, acq ...).
    ``path``, ``t1w_path`` and ``phase_path`` are absolute; the latter two may be None.
    ``skull_stripped`` is True where the sidecar says so (BIDS: SkullStripped).
    ``content_key`` is a hash of image, T1w and used sidecar fields. A scan whose key changes runs
    again. ``phase_key`` is a digest of the phase image, which detect alone reads.
    """

    scan_id: str
    cohort: str
    participant_id: str
    session_id: str | None
    suffix: str
    contrast: str
    path: Path
    entities: tuple[tuple[str, str], ...]
    t1w_path: Path | None = None
    phase_path: Path | None = None
    echo_time_s: float | None = None
    field_strength_t: float | None = None
    skull_stripped: bool = False
    content_key: str = ""
    phase_key: str = ""

    @property
    def searched_key(self) -> str:
        """Key of the scan's content and its phase: what detect and verify depend on."""
        return f"{self.content_key}+{self.phase_key}" if self.phase_key else self.content_key


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one scan in one stage; written as JSON, read by every later stage.

    ``measures`` holds the QC measures that the stage took: values that JSON can hold, of a failed
    scan those from before the fault. ``log`` is the log of the job that wrote the record, relative
    to the output folder. ``log`` is None if the stage ran without a job, and in older records.
    ``made_from`` holds keys of what preprocess or register made the result from
    (``core.carry_out.made_from``); records of other stages have none.
    """

    stage: str
    scan_id: str
    status: str  # ok | failed | excluded
    reason: str | None = None
    message: str | None = None
    seconds: float | None = None
    version: int = 1
    log: str | None = None
    measures: dict[str, Any] = dataclasses.field(default_factory=dict)
    made_from: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def left_right_known(self) -> bool:
        """Of the record of preprocess: False where the scan's header has no orientation."""
        return self.measures.get(LEFT_RIGHT) is not False

    @property
    def was_run(self) -> bool:
        """False of a stage that left no result that can be read."""
        return self.reason != "not_run"

    def write(self, path: Path) -> None:
        """Write the record. No measure can prevent this: what JSON cannot hold becomes null.

        The message then names the measure.
        """
        measures = {name: _storable(value) for name, value in self.measures.items()}
        lost = sorted(name for name, value in measures.items() if value is _LOST)
        content = dataclasses.asdict(dataclasses.replace(self, measures={}))
        for name in ("message", "reason", "log"):
            if content[name] is not None:
                content[name] = printable(content[name])
        if lost:
            _LOG.warning("%s: %s is no finite number", self.scan_id, ", ".join(lost))
            said = f"What was measured is no finite number: {', '.join(lost)}."
            content["message"] = " ".join(filter(None, (content["message"], said)))
        stored = {name: None if value is _LOST else value for name, value in measures.items()}
        write_json(path, content | {"measures": stored})

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """The record ``path`` (``Layout.record``), failed as not_run where there is none.

        A torn record, or one of another version, is no record: nothing that it says can be trusted.
        """
        path = Path(path)
        content = read_json(path)
        if isinstance(content, dict) and _is_record(content):
            return cls(**content)
        stage, scan_id = path.parent.name, path.stem
        fault = "its record cannot be read" if path.exists() else "no record"
        message = with_advice("not_run", f"{stage}: {fault}.")
        return cls(stage, scan_id, "failed", "not_run", message)


_TEXT, _NUMBER = (str, type(None)), (int, float, type(None))
#: Types of a record's values.
_FIELDS: dict[str, tuple[type, ...]] = {
    "stage": (str,),
    "scan_id": (str,),
    "status": (str,),
    "reason": _TEXT,
    "message": _TEXT,
    "seconds": _NUMBER,
    "version": (int,),
    "log": _TEXT,
    "measures": (dict,),
    "made_from": (dict,),
}
#: Stands for a measure that a record cannot hold.
_LOST = object()


def _is_record(content: dict[str, Any]) -> bool:
    """Whether ``content`` holds what a record holds, and nothing else."""
    known = content.keys() <= _FIELDS.keys() and {"stage", "scan_id", "status"} <= content.keys()
    return (
        known
        and all(isinstance(value, _FIELDS[name]) for name, value in content.items())
        and content["status"] in ("ok", "failed", "excluded")
    )


def _storable(value: Any) -> Any:
    """``value`` as a record holds it: a NumPy number is Python's; _LOST where JSON has none."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, (bool, int, type(None))):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _LOST
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return _LOST
