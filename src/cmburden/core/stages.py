"""The stages: name, version, unit of work and order. All code that lists stages asks this module.

The module imports the standard library only: every job of a cluster parses the Snakefile, which
asks for versions.
"""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of the pipeline.

    Attributes
    ----------
    name : str
        Name in records, logs, shards, `runs` and the rule that runs the stage.
    version : int
        Raise the version when the stage gives another result for the same input: everything that
        the stage made then runs again (docs/reruns.md).
    unit : {"cohort", "scan", "bucket", "participants"}
        What a run file of the stage is about. A job of a stage of scans works through a batch of
        them (``run.batches``). A bucket holds scans, ``participants`` is a bucket of people with
        several sessions.
    """

    name: str
    version: int
    unit: Literal["cohort", "scan", "bucket", "participants"]


INDEX = Stage("index", 5, "cohort")
PREPROCESS = Stage("preprocess", 5, "scan")
REGISTER = Stage("register", 4, "scan")
DETECT = Stage("detect", 11, "bucket")
VERIFY = Stage("verify", 13, "bucket")
LONGITUDINAL = Stage("longitudinal", 2, "participants")
AGGREGATE = Stage("aggregate", 9, "cohort")
REPORT = Stage("report", 7, "cohort")

#: All stages, in the order in which data flow through them.
STAGES = (INDEX, PREPROCESS, REGISTER, DETECT, VERIFY, LONGITUDINAL, AGGREGATE, REPORT)

#: Names of the stages that work on a scan, and on a bucket of scans.
SCAN_STAGES = tuple(stage.name for stage in STAGES if stage.unit == "scan")
BUCKET_STAGES = tuple(stage.name for stage in STAGES if stage.unit == "bucket")
#: Names of the stages that leave a record for each scan.
RECORDED_STAGES = (*SCAN_STAGES, *BUCKET_STAGES)


def version_of(name: str) -> int:
    """Version of the stage called ``name``.

    >>> version_of("preprocess")
    5
    """
    return {stage.name: stage.version for stage in STAGES}[name]
