"""What stages have in common: the record of a scan, and the time of a stage that takes one scan."""

from __future__ import annotations

import time
from collections.abc import Callable

from cmburden.core.errors import ScanError
from cmburden.core.paths import Layout
from cmburden.core.provenance import write_run
from cmburden.core.scan import Outcome, Scan


def carry_out(
    stage: str,
    version: int,
    scan: Scan,
    layout: Layout,
    settings: dict,
    work: Callable[[dict], str | None],
    log: str | None = None,
) -> Outcome:
    """Do ``work(measures)`` and write the scan's record and run file of ``stage``.

    ``work`` fills ``measures`` and returns a warning or None; what is wrong with the scan, a
    ``ScanError``, becomes the outcome's status and reason. ``log`` is the job's log as
    ``Layout.log_name`` names it.
    """
    started = time.perf_counter()
    measures: dict = {}
    status, reason, message = "ok", None, None
    try:
        message = work(measures)
    except ScanError as error:
        status, reason, message = error.status, error.reason, str(error)
    seconds = time.perf_counter() - started
    write_run(layout, stage, version, scan.scan_id, settings, seconds=seconds)
    outcome = Outcome(
        stage,
        scan.scan_id,
        status,
        reason,
        message,
        round(seconds, 2),
        version,
        log,
        measures=measures,
    )
    outcome.write(layout.record(stage, scan.scan_id))
    return outcome


def skip(
    stage: str,
    version: int,
    scan: Scan,
    layout: Layout,
    status: str,
    message: str,
    log: str | None = None,
) -> None:
    """Write the record of a scan that ``stage`` skips: an earlier stage ended with ``status``."""
    outcome = Outcome(stage, scan.scan_id, status, "upstream", message, version=version, log=log)
    outcome.write(layout.record(stage, scan.scan_id))
