"""Which change alters which job's parameters: docs/reruns.md as the plan itself sees it.

`tests/workflow/test_reruns.py` walks the same table through Snakemake. Here nothing is run, and
what reaches a job through its inputs alone (a threshold reaches the tables so) is not seen.
"""

import importlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cmburden.benchmarks import pretend_tree
from cmburden.core import config, resources
from cmburden.core.keys import batch_of, bucket_of
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.stages import BUCKET_STAGES, SCAN_STAGES
from cmburden.index import stage as index
from cmburden.run import plan as workflow
from cmburden.run.begin import BEGUN, plan_for_snakemake
from cmburden.run.plan import Plan

#: Scans of the tree; participant 03 has two sessions.
NAMES = (
    "sub-01/anat/sub-01_T2starw",
    "sub-02/anat/sub-02_T2starw",
    "sub-03/ses-1/anat/sub-03_ses-1_T2starw",
    "sub-03/ses-2/anat/sub-03_ses-2_T2starw",
    "sub-04/ses-1/anat/sub-04_ses-1_swi",
    "sub-04/ses-2/anat/sub-04_ses-2_swi",
)


class Study:
    """A BIDS tree, an output folder and the settings of a run."""

    def __init__(self, folder: Path):
        self.folder, self.settings = folder, {}
        self.bids, self.out = folder / "bids", folder / "out"
        for name in NAMES:
            self.add(name)
        (self.bids / "dataset_description.json").write_text('{"Name": "plan"}')
        self.write_ages(70)

    def add(self, name: str) -> None:
        path = self.bids / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        self.sidecar(name, EchoTime=0.02)

    def sidecar(self, name: str, **fields) -> None:
        (self.bids / f"{name}.json").write_text(json.dumps(fields))

    def write_ages(self, age: int) -> None:
        (self.bids / "participants.tsv").write_text(f"participant_id\tage\nsub-01\t{age}\n")

    def set(self, section: str, **values) -> None:
        self.settings = config.merge(self.settings, {section: values})

    def model(self, stage: str, **changes) -> None:
        """Name a copy of the stage's contract, with some keys changed, in place of the model."""
        folder = {"detect": "detector", "verify": "verifier"}[stage]
        contract = (resources.root() / "models" / folder / "model.json").read_text()
        copy = self.folder / "copies" / folder
        copy.mkdir(parents=True)
        if changes:
            contract = json.dumps(json.loads(contract) | changes)
        (copy / "model.json").write_text(contract)
        self.set(stage, model=str(copy))

    def flow(self) -> Plan:
        overrides = self.settings | {"bids_dir": str(self.bids), "output_dir": str(self.out)}
        index.run(self.bids, Layout(self.out), config.load(overrides))
        return plan_for_snakemake(overrides, main=False)

    def jobs(self) -> dict[str, dict[str, object]]:
        """Of each stage, the parameters of its jobs by the job's unit."""
        flow = self.flow()
        jobs: dict[str, dict[str, object]] = {
            stage: {batch: flow.of_batch(stage, batch) for batch in flow.batches}
            for stage in SCAN_STAGES
        }
        for stage in BUCKET_STAGES:
            jobs[stage] = {bucket: flow.of_bucket(stage, bucket) for bucket in flow.buckets}
        jobs["longitudinal"] = {bucket: flow.key_of_people(bucket) for bucket in flow.people}
        jobs["aggregate"] = {"all": flow.of_cohort()}
        jobs["report"] = {"all": flow.of_report()}
        return jobs


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(tmp_path)


def bump(stage: str) -> Callable[[Study, pytest.MonkeyPatch], None]:
    def change(study, monkeypatch):
        real = workflow.version_of
        monkeypatch.setattr(workflow, "version_of", lambda name: real(name) + (name == stage))

    return change


def moved(study, monkeypatch):
    study.bids = study.bids.rename(study.folder / "elsewhere")


def moved_output(study, monkeypatch):
    study.out = study.out.rename(study.folder / "output of old")


def touched(study, monkeypatch):
    (study.bids / f"{NAMES[0]}.nii.gz").touch()


def unused_key(study, monkeypatch):
    study.sidecar(NAMES[0], EchoTime=0.02, PatientPosition="HFS")


def flip_angle(study, monkeypatch):
    study.sidecar(NAMES[0], EchoTime=0.02, FlipAngle=15)


def echo_time(study, monkeypatch):
    study.sidecar(NAMES[0], EchoTime=0.025)


def replaced(study, monkeypatch):
    (study.bids / f"{NAMES[2]}.nii.gz").write_bytes(b"another scan")


def added(study, monkeypatch):
    study.add("sub-03/ses-3/anat/sub-03_ses-3_T2starw")


def phase(study, monkeypatch):
    path = study.bids / f"{NAMES[2].replace('_T2starw', '_part-phase_T2starw')}.nii.gz"
    path.write_bytes(b"phase")


def removed(study, monkeypatch):
    shutil.rmtree(study.bids / "sub-01")


def setting(section: str, **values) -> Callable[[Study, pytest.MonkeyPatch], None]:
    return lambda study, monkeypatch: study.set(section, **values)


def weights(stage: str, **changes) -> Callable[[Study, pytest.MonkeyPatch], None]:
    return lambda study, monkeypatch: study.model(stage, **changes)


ALL = "all"
ONE = {"preprocess": 1, "register": 1, "detect": 1, "verify": 1}
#: Change, and of each stage how many jobs have other parameters than before.
CHANGES = {
    "nothing": (lambda study, monkeypatch: None, {}),
    "a scan is touched": (touched, {}),
    "a sidecar's unused key": (unused_key, {}),
    "a sidecar's FlipAngle": (flip_angle, {"aggregate": 1}),
    "a sidecar's EchoTime": (echo_time, ONE | {"aggregate": 1}),
    "a replaced scan": (replaced, ONE | {"longitudinal": 1, "aggregate": 1}),
    "an added phase image": (
        phase,
        {"detect": 1, "verify": 1, "longitudinal": 1, "aggregate": 1},
    ),
    "an added session": (added, ONE | {"longitudinal": 1, "aggregate": 1}),
    "an edited age": (lambda study, monkeypatch: study.write_ages(71), {"aggregate": 1}),
    "the report's title": (setting("report", title="Ours"), {"aggregate": 1, "report": 1}),
    "a threshold": (
        setting("verify", thresholds={"definite": 0.61}),
        {"verify": ALL, "longitudinal": ALL},
    ),
    "how far a lesion may move": (
        setting("longitudinal", max_distance_mm=4),
        {"longitudinal": ALL, "aggregate": 1},
    ),
    "how a mask is judged": (
        setting("preprocess", min_brain_ml=600),
        {"preprocess": ALL, "longitudinal": ALL},
    ),
    "new YOLO weights": (
        weights("verify", version="another"),
        {"verify": ALL, "longitudinal": ALL},
    ),
    "new CNN weights": (
        weights("detect", version="another"),
        {"detect": ALL, "longitudinal": ALL},
    ),
    "a moved model": (weights("verify"), {}),
    "another device": (setting("detect", device="cpu"), {}),
    "the version of register": (bump("register"), {"register": ALL, "longitudinal": ALL}),
    "the version of aggregate": (bump("aggregate"), {"aggregate": 1}),
    "a moved BIDS folder": (moved, {}),
    "a moved cohort folder": (moved_output, {}),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_a_change_alters(change, expected, study, monkeypatch):
    before = study.jobs()
    change(study, monkeypatch)
    after = study.jobs()
    altered = {
        stage: sum(before[stage].get(unit) != value for unit, value in jobs.items())
        for stage, jobs in after.items()
    }
    assert altered == {
        stage: len(jobs) if expected.get(stage) == ALL else expected.get(stage, 0)
        for stage, jobs in after.items()
    }


def test_a_removed_participant_alters_its_batch_its_bucket_and_the_tables(study):
    study.settings |= {"buckets": 1, "batches": 2}
    before = study.jobs()
    removed(study, None)
    after = study.jobs()
    its = batch_of("sub-01_T2starw", 1, 2)
    for stage in SCAN_STAGES:
        assert "sub-01_T2starw" not in str(after[stage])
        assert {
            batch for batch in before[stage] if before[stage][batch] != after[stage][batch]
        } == {its}
    for stage in (*BUCKET_STAGES, "aggregate"):
        assert before[stage] != after[stage]
    assert before["longitudinal"] == after["longitudinal"]


def test_every_scan_is_in_the_bucket_of_its_id_whatever_else_is_there(study):
    first = study.flow()
    study.add("sub-05/anat/sub-05_T2starw")
    second = study.flow()
    for flow in (first, second):
        placed = {scan: int(b) for b, scans in flow.buckets.items() for scan in scans}
        assert placed == {scan: bucket_of(scan, 16) for scan in flow.scans}
        batched = {scan: batch for batch, scans in flow.batches.items() for scan in scans}
        assert batched == {scan: batch_of(scan, 16, 5) for scan in flow.scans}
    assert set(second.scans) - set(first.scans) == {"sub-05_T2starw"}


def test_people_are_those_with_several_sessions(study):
    flow = study.flow()
    people = {p: [s.scan_id for s in scans] for b in flow.people.values() for p, scans in b.items()}
    assert people == {
        "sub-03": ["sub-03_ses-1_T2starw", "sub-03_ses-2_T2starw"],
        "sub-04": ["sub-04_ses-1_swi", "sub-04_ses-2_swi"],
    }
    for bucket, own in flow.people.items():
        assert {bucket_of(participant, 16) for participant in own} == {int(bucket)}
    wanted = {bucket_of(scan_id, 16) for scans in people.values() for scan_id in scans}
    assert flow.shards_of_people() == [
        flow.paths.bucket("verify", number) for number in sorted(wanted)
    ]


def test_inputs_of_the_tables_are_a_shard_a_bucket(study, monkeypatch):
    monkeypatch.chdir(study.folder)
    flow = study.flow()
    # Relative to the working folder, so that a moved cohort keeps Snakemake's memory.
    assert {path.as_posix() for path in flow.shards()} == {
        f"out/work/verify/bucket-{bucket}.parquet" for bucket in flow.buckets
    }
    assert sorted(path.name for path in flow.followed()) == sorted(
        f"{kind}-{bucket}.parquet" for kind in ("bucket", "sessions") for bucket in flow.people
    )
    assert [path.stem for path in flow.tables()] == list(COHORT_TABLES)
    for bucket, scans in flow.buckets.items():
        names = {path.stem.removeprefix("batch-") for path in flow.marks("preprocess", bucket)}
        assert sorted(scan for name in names for scan in flow.batches[name]) == scans


def test_jobs_a_scan_at_thousands_of_scans(tmp_path):
    """At most 0.3 jobs a scan on SLURM, and no batch far from ten scans (docs/scale.md)."""
    layout, scans, buckets = Layout(tmp_path / "out"), 5000, 100
    pretend_tree.write_manifest(layout.manifest, scans, buckets)
    flow = Plan(
        config.load({"bids_dir": str(tmp_path), "output_dir": str(layout.root), "buckets": buckets})
    )
    jobs = len(SCAN_STAGES) * len(flow.batches) + len(BUCKET_STAGES) * len(flow.buckets)
    jobs += len(flow.people) + 2  # longitudinal, aggregate, report
    assert jobs <= 0.3 * scans
    sizes = [len(members) for members in flow.batches.values()]
    assert sum(sizes) == scans and max(sizes) < 30
    assert {flow.minutes(batch) for batch in flow.batches} == {30 + 3 * size for size in sizes}


def test_a_small_cohort_keeps_many_cores_at_work():
    """Of 20 scans no job of preprocess has more than a few: 16 cores have work."""
    sizes = Counter(batch_of(f"sub-{n:03d}_T2starw", 16, 5) for n in range(20)).values()
    assert len(sizes) >= 16 and max(sizes) <= 3


def test_readers_decisions_and_sessions_are_part_of_the_cohort(study):
    flow = study.flow()
    before = flow.of_cohort()
    path = study.bids / "sub-03" / "sub-03_sessions.tsv"
    path.write_text("session_id\tacq_time\nses-1\t2020-01-01\n")
    with_sessions = flow.of_cohort()
    flow.layout.reviews.parent.mkdir(parents=True, exist_ok=True)
    flow.layout.reviews.write_bytes(b"a decision")
    assert before != with_sessions != flow.of_cohort() != before


def test_a_participants_table_that_is_no_file_does_not_hang(study):
    before = study.flow().of_cohort()["files"]
    path = study.bids / "participants.tsv"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert "a named pipe" in study.flow().of_cohort()["files"] != before


def test_the_main_process_indexes_and_jobs_believe_the_manifest(study, monkeypatch):
    overrides = {"bids_dir": str(study.bids), "output_dir": str(study.out)}
    first = plan_for_snakemake(overrides, main=True)
    assert len(first.scans) == len(NAMES)
    study.add("sub-05/anat/sub-05_T2starw")
    assert plan_for_snakemake(overrides, main=False).scans.keys() == first.scans.keys()
    monkeypatch.setenv(BEGUN, "1")
    assert plan_for_snakemake(overrides, main=True).scans.keys() == first.scans.keys()
    monkeypatch.delenv(BEGUN)
    assert len(plan_for_snakemake(overrides, main=True).scans) == len(NAMES) + 1


def test_without_a_bids_folder_there_is_nothing_to_do(tmp_path):
    flow = plan_for_snakemake({"output_dir": str(tmp_path)}, main=False)
    assert flow.scans == {} and flow.shards() == [] and flow.followed() == []


@pytest.mark.parametrize(
    "stage", [*SCAN_STAGES, *BUCKET_STAGES, "longitudinal", "aggregate", "report"]
)
def test_the_version_in_the_plan_is_that_of_the_stage(stage):
    room = {"longitudinal": "follow", "aggregate": "cohort"}.get(stage, stage)
    assert workflow.version_of(stage) == importlib.import_module(f"cmburden.{room}.stage").VERSION
