"""Value objects that stages pass on: a scan, and what became of a scan in a stage."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from cmburden.core.files import write_json

#: Measure of preprocess, and column of `scans`: the header says which side is the person's left.
LEFT_RIGHT = "left_right_known"


@dataclasses.dataclass(frozen=True)
class Scan:
    """One scan of the manifest: a magnitude GRE or SWI volume.

    ``entities`` are the BIDS entities of the source in their order (short keys: sub, ses, acq ...).
    ``path``, ``t1w_path`` and ``phase_path`` are absolute; the latter two may be None.
    ``content_key`` is a hash of image, T1w and used sidecar fields. A scan whose key changes runs
    again.
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
    content_key: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one scan in one stage; written as JSON, read by every later stage.

    ``measures`` holds the QC measures that the stage took: values that JSON can hold, of a failed
    scan those from before the fault. ``log`` is the log of the job that wrote the record, relative
    to the output folder. ``log`` is None if the stage ran without a job, and in older records.
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

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def left_right_known(self) -> bool:
        """Of the record of preprocess: False where the scan's header has no orientation."""
        return self.measures.get(LEFT_RIGHT) is not False

    def write(self, path: Path) -> None:
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> Outcome:
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
