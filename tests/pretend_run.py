"""`cmburden run` without Snakemake, networks and images: a scheduler and stages that take no time.

The scheduler does what Snakemake does with the plan: a job runs if its output is missing, its
parameter is another, or a job before it ran. Its memory is of Snakemake's form. Batches are worked
through by the real loop. Results depend on the image's bytes and on settings, as those of the
stages do.
"""

from __future__ import annotations

import ast
import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import yaml

from cmburden.cohort import stage as aggregate
from cmburden.core import carry_out, table_set
from cmburden.core.carry_out import Done, Job
from cmburden.core.errors import ScanError
from cmburden.core.files import sha256_of_file, write_json
from cmburden.core.keys import hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.stages import BUCKET_STAGES, SCAN_STAGES, version_of
from cmburden.core.tables import CANDIDATES
from cmburden.run import batches, begin, cli, participants
from cmburden.run.plan import Plan

#: Content of an image that no stage can read.
BAD = b"bad"
#: Candidates of a scan, with probabilities from its content.
CANDIDATES_A_SCAN = 5


class Stopped(Exception):
    """The run was killed."""


class Scheduler:
    """Stands for Snakemake's process. ``stop_after``: jobs until it is killed; None: never."""

    def __init__(self) -> None:
        self.stop_after: int | None = None
        self.jobs: list[str] = []

    def __call__(self, command: list[str], **_: Any) -> SimpleNamespace:
        config = yaml.safe_load(Path(command[command.index("--configfile") + 1]).read_text())
        self.jobs = []
        plan = Plan(config)
        try:
            if "--dry-run" not in command:
                self._work(plan, forced="--forcerun" in command)
        except Stopped:
            return SimpleNamespace(returncode=1)
        return SimpleNamespace(returncode=0)

    def _job(self, name: str, *outputs: Path, keep: bool = False) -> None:
        """A job begins: Snakemake removes its outputs; a killed one leaves none."""
        if self.stop_after is not None and len(self.jobs) >= self.stop_after:
            raise Stopped
        self.jobs.append(name)
        if not keep:
            for path in outputs:
                path.unlink(missing_ok=True)

    def _work(self, plan: Plan, *, forced: bool) -> None:
        layout = plan.layout
        if not forced:
            for bucket, scan_ids in plan.buckets.items():
                if plan.asked.intersection(scan_ids):
                    self._bucket(plan, bucket, scan_ids)
        if plan.config["analysis_level"] == "part":
            return
        shards = [layout.bucket("verify", path.stem.split("-")[1]) for path in plan.shards()]
        inputs = {path.name: sha256_of_file(path) for path in shards}
        what = plan.of_cohort() | {"inputs": inputs}
        made = layout.aggregated.exists() and layout.table_set.exists()
        if forced or not made or _memory(layout, layout.table_set) != what:
            self._job("aggregate", keep=True)
            aggregate.run(layout, plan.bids, plan.config)
            write_json(layout.aggregated, {})
            _remember(layout, layout.table_set, what)
        mark = table_set.check(layout)
        assert mark is not None
        layout.report.parent.mkdir(parents=True, exist_ok=True)
        layout.report.write_text(f'<meta name="cmburden-tables" content="{mark.key}">')
        write_json(layout.checked, {})

    def _bucket(self, plan: Plan, bucket: str, scan_ids: list[str]) -> None:
        layout, ran = plan.layout, False
        for name in sorted(plan.batches_of[bucket]):
            again = False
            for stage in SCAN_STAGES:
                mark, what = layout.batch(stage, name), plan.of_batch(stage, name)
                again |= not mark.exists() or _memory(layout, mark) != what
                if again:
                    self._job(stage, mark)
                    _batch_stage(plan, stage, name)
                    _remember(layout, mark, what)
            ran |= again
        for stage in BUCKET_STAGES:
            shard, what = layout.bucket(stage, bucket), plan.of_bucket(stage, bucket)
            ran |= not shard.exists() or _memory(layout, shard) != what
            if ran:
                self._job(stage, shard)
                _bucket_stage(plan, stage, bucket, [plan.scans[s] for s in scan_ids])
                _remember(layout, shard, what)


def _path(layout: Layout, output: Path) -> Path:
    name = f"../work/{output.relative_to(layout.work)}" if layout.work in output.parents else "set"
    return layout.work / ".snakemake/metadata" / base64.urlsafe_b64encode(name.encode()).decode()


def _memory(layout: Layout, output: Path) -> Any:
    try:
        return ast.literal_eval(json.loads(_path(layout, output).read_text())["params"][0])
    except FileNotFoundError:
        return None


def _remember(layout: Layout, output: Path, what: Any) -> None:
    path = _path(layout, output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"params": [repr(what)]}))


def _batch_stage(plan: Plan, stage: str, name: str) -> None:
    job = Job(stage, version_of(stage), plan.layout, plan.config[stage])
    batch = batches.Batch(name, [plan.scans[scan_id] for scan_id in plan.batches[name]])

    def of_scan(scan: Scan, *_: Any) -> Done:
        return _scan_stage(plan, stage, scan)

    # Records that are made again of the same scan have the same bytes.
    with mock.patch.object(carry_out.time, "perf_counter", lambda: 0.0):
        batches.work(job, batch, of_scan, batches.Clock.of_job(again=True))


def _scan_stage(plan: Plan, stage: str, scan: Scan) -> Done:
    for path in plan.layout.results(stage, scan):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if scan.path.read_bytes() == BAD:
        reason = "unreadable" if stage == "preprocess" else "upstream"
        raise ScanError(reason, "It cannot be read.")
    if stage == "preprocess":
        return Done({"snr": float(plan.config["preprocess"]["min_brain_ml"])})
    return Done()


def _bucket_stage(plan: Plan, stage: str, bucket: str, scans: list[Scan]) -> None:
    layout, rows = plan.layout, []
    for scan in scans:
        before = Outcome.read(layout.record("register", scan.scan_id))
        if not before.ok:
            Outcome(stage, scan.scan_id, before.status, "upstream", "Not searched.").write(
                layout.record(stage, scan.scan_id)
            )
            continue
        own = _candidates(plan, scan)
        kept = sum(row["label"] != "rejected" for row in own)
        measures = {"n_kept": kept} if stage == "verify" else {"n_candidates": len(own)}
        Outcome(stage, scan.scan_id, "ok", seconds=1.0, measures=measures).write(
            layout.record(stage, scan.scan_id)
        )
        rows += own
    CANDIDATES.write(layout.bucket(stage, bucket), rows)


def _candidates(plan: Plan, scan: Scan) -> list[dict[str, Any]]:
    thresholds = plan.config["verify"]["thresholds"] or {}
    definite, possible = thresholds.get("definite", 0.6), thresholds.get("possible", 0.3)
    rows = []
    for number in range(1, CANDIDATES_A_SCAN + 1):
        p = int(hash_of(scan.content_key, number)[:4], 16) / 0xFFFF
        label = "definite" if p >= definite else "possible" if p >= possible else "rejected"
        rows.append(
            {
                "scan_id": scan.scan_id,
                "candidate_id": number,
                "x_mm": 1.0 * number,
                "y_mm": 2.0,
                "z_mm": 3.0,
                "p_cnn": p,
                "p_yolo": p,
                "yolo_class": "microbleed",
                "probability": p,
                "label": label,
                "kept": label != "rejected",
                "volume_mm3": 30.0,
                "diameter_mm": 2.0 * number,
                "region": "frontal",
                "group": "lobar",
                "hemisphere": "left",
            }
        )
    return rows


class Study:
    """A BIDS tree of six participants and an output folder, worked on by commands."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder, self.bids = folder, folder / "bids"
        self.layout = Layout(folder / "out")
        self.scheduler = Scheduler()
        for number in range(1, 7):
            self.image(number, f"scan {number}".encode())
        (self.bids / "dataset_description.json").write_text('{"Name": "study"}')
        (self.bids / "participants.tsv").write_text("participant_id\tage\nsub-01\t70\n")
        monkeypatch.setattr(
            participants.watch,
            "watched",
            lambda command, *_: self.scheduler(command).returncode,
        )
        monkeypatch.setattr(begin, "check_models", lambda config: None)
        # Estimates follow from the other tables and take most of the time.
        monkeypatch.setattr(aggregate.estimates, "estimates", lambda cohort, config: [])
        monkeypatch.setattr(aggregate.curves, "curves", lambda *_: [])

    def image(self, number: int, content: bytes) -> None:
        path = self.bids / f"sub-{number:02d}/anat/sub-{number:02d}_T2starw.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text('{"EchoTime": 0.02}')

    def run(self, *options: str, level: str = "participant", out: Layout | None = None) -> int:
        root = (out or self.layout).root
        code = cli.main(["run", str(self.bids), str(root), level, *options])
        assert code is not None
        return code

    def group(self, *options: str) -> int:
        return self.run(*options, level="group")

    def retry(self, *options: str) -> int:
        code = cli.main(["retry", str(self.layout.root), *options])
        assert code is not None
        return code

    def tables(self, layout: Layout | None = None) -> dict[str, bytes]:
        """Bytes of the tables that equal input makes equal."""
        folder = (layout or self.layout).cohort
        paths = folder.glob("*.parquet") if folder.exists() else ()
        return {path.name: path.read_bytes() for path in paths if path.stem != "runs"}

    def fresh(self, name: str = "fresh") -> dict[str, bytes]:
        """Tables of a run into a new folder with this folder's settings."""
        out = Layout(self.folder / name)
        file = self.folder / f"{name}.yaml"
        file.write_bytes(self.layout.config.read_bytes())
        stop, self.scheduler.stop_after = self.scheduler.stop_after, None
        assert self.run("--config-file", str(file), out=out) == 0
        self.scheduler.stop_after = stop
        return self.tables(out)
