"""The pilot: which scans it takes, and that its sums are those of the jobs that were run."""

import argparse
import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.tables import MANIFEST
from cmburden.run import pilot
from cmburden.run.participants import Request

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def benchmark(path, seconds, rss="900"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:01\t{rss}\t1\t1\t1\t0\t0\t90\t1\n")


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Four scans: 10 and 30 s a scan job; two buckets of two scans, 5 s to load and 2 s a scan."""
    layout = Layout(tmp_path / "out")
    rows = [
        {
            "scan_id": f"sub-{n}_swi",
            "participant_id": f"sub-{n}",
            "cohort": "c",
            "suffix": "swi",
            "contrast": "SWI",
            "path": f"sub-{n}/anat/sub-{n}_swi.nii.gz",
            "entities": "[]",
            "bucket": n % 2,
            "content_key": str(n),
        }
        for n in range(4)
    ]
    MANIFEST.write(layout.manifest, rows)
    (layout.run_config).write_text(yaml.safe_dump({"buckets": 2, "threads": 2}))
    for n, row in enumerate(rows):
        benchmark(layout.benchmark("preprocess", row["scan_id"]), 10 if n % 2 else 30)
        benchmark(layout.benchmark("register", row["scan_id"]), 20)
        for stage in ("preprocess", "register", "detect", "verify"):
            # The first scan of a bucket waits for the network.
            seconds = 2.0 if n > 0 else 6.0
            Outcome(stage, row["scan_id"], "ok", seconds=seconds).write(
                layout.record(stage, row["scan_id"])
            )
    for stage in ("detect", "verify"):
        for bucket in (0, 1):
            benchmark(layout.benchmark(stage, str(bucket)), 9, rss="-" if bucket else "2000")
            path = layout.run_record(stage, f"bucket-{bucket}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"device": "NVIDIA A100"}))
    benchmark(layout.benchmark("aggregate"), 4)
    return layout


def test_costs_are_those_of_the_jobs(layout):
    cost = pilot.estimate(layout, 400)
    found = {stage.stage: stage for stage in cost.stages}
    assert [stage.jobs for stage in cost.stages] == [10, 10, 2, 2, 1]
    # The mean of 10 and 30 s, not the median of something.
    assert found["preprocess"].hours == pytest.approx(400 * 20 / 3600)
    # A bucket's job is 9 s: 5 once, and 2 for each of its two scans.
    wall = 2 * 5 + 400 * 2
    assert found["detect"].gpu_hours == pytest.approx(wall / 3600)
    assert found["detect"].hours == pytest.approx(2 * wall / 3600)
    assert found["detect"].max_rss_mb == 2000
    assert cost.bucket_seconds == pytest.approx(5 + 200 * 2)
    assert found["aggregate"].hours == pytest.approx(400 * 1 / 3600)


def test_following_lesions_over_sessions_is_reckoned(layout):
    before = pilot.estimate(layout, 400)
    assert "longitudinal" not in {stage.stage for stage in before.stages}
    for bucket in range(2):
        benchmark(layout.benchmark("longitudinal", str(bucket)), 8)
    found = {stage.stage: stage for stage in pilot.estimate(layout, 400).stages}
    assert found["longitudinal"].jobs == before.buckets
    assert found["longitudinal"].hours == pytest.approx(400 * 16 / before.measured / 3600)


def test_no_gpu_is_said(layout):
    for path in layout.work.glob("runs/*/*.json"):
        path.write_text(json.dumps({"device": "cpu"}))
    cost = pilot.estimate(layout, 400)
    assert not any(stage.gpu_hours for stage in cost.stages)
    assert "No GPU was used" in pilot.markdown(cost, on_slurm=False)


def test_files_are_told_by_kind(layout):
    before = {d.kind for d in pilot.estimate(layout).disk}
    assert before == {"records and shards (work)", "logs"}
    for name in (
        "sub-1/anat/sub-1_acq-swi_desc-preproc_swi.nii.gz",
        "sub-1/anat/sub-1_acq-swi_desc-brain_mask.nii.gz",
        "sub-1/anat/sub-1_acq-swi_desc-MARS_dseg.nii.gz",
        "sub-1/anat/sub-1_acq-swi_label-CMB_dseg.nii.gz",
        "sub-1/anat/sub-1_acq-swi_desc-CMB_lesions.tsv",
        "sub-1/figures/sub-1_acq-swi_desc-QC_montage.png",
        "sub-1.html",
        "sub-1/anat/sub-1_from-swi_to-MNI152NLin2009aSym_mode-image_desc-warp_xfm.nii.gz",
        "work/cache/detect/ab/abc.npz",
        "work/.snakemake/metadata/abc",
        "cohort/scans.parquet",
    ):
        path = layout.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 8192)
    disk = {d.kind: d for d in pilot.estimate(layout).disk}
    assert list(disk) == [kind for kind, _ in pilot.KINDS]
    assert disk["brain masks"].bytes_a_scan == pytest.approx(8192 / 4)
    assert disk["pictures and pages"].files_a_scan == pytest.approx(2 / 4)


def test_intermediate_results_elsewhere_are_counted(layout, tmp_path):
    before = {d.kind: d.bytes_a_scan for d in pilot.disk(layout, 4)}
    layout.work.rename(tmp_path / "elsewhere")
    layout.work.symlink_to(tmp_path / "elsewhere")
    assert {d.kind: d.bytes_a_scan for d in pilot.disk(layout, 4)} == before
    assert before["records and shards (work)"] > 0


def test_the_time_by_the_clock(layout):
    cost = pilot.estimate(layout, 400)
    hours = sum(stage.hours for stage in cost.stages)
    assert f"on 4 processors of this machine: {pilot._clock(hours / 4)}." in pilot.markdown(
        cost, on_slurm=False, cores=4
    )
    assert "By the clock" not in pilot.markdown(cost, on_slurm=True, cores=4)


def test_larger_buckets_than_an_hour_are_said(layout):
    assert "set buckets=" not in pilot.markdown(pilot.estimate(layout, 400), on_slurm=True)
    said = pilot.markdown(pilot.estimate(layout, 7200), on_slurm=True)
    # 7,205 s a bucket.
    assert "would take 2.0 hours; set buckets=5 for one of an hour" in said
    assert "| start of jobs, 7 s each |  |" in said


def test_nothing_was_run(tmp_path):
    layout = Layout(tmp_path / "out")
    MANIFEST.write(layout.manifest, [])
    (layout.work / "config.yaml").write_text("{buckets: 2, threads: 2}")
    with pytest.raises(CMBurdenError, match="run the pilot first"):
        pilot.estimate(layout, 10)


SUFFIXES = st.sampled_from(["T2starw", "swi", "MEGRE"])


# No deadline: on a busy machine a draw may wait for the processor longer than it works.
@settings(deadline=None)
@given(st.lists(SUFFIXES, min_size=1, max_size=120), st.integers(1, 40))
def test_every_suffix_has_its_share(suffixes, number):
    scans = [(f"sub-{n:03d}", suffix) for n, suffix in enumerate(suffixes)]
    chosen = set(pilot.choose(scans, number))
    taken = [suffix for participant, suffix in scans if participant in chosen]
    assert set(taken) == set(suffixes)
    for suffix in set(suffixes):
        share = number * suffixes.count(suffix) / len(suffixes)
        assert taken.count(suffix) <= max(1, share + 0.5)
        assert taken.count(suffix) >= min(suffixes.count(suffix), share - 0.5)
    # The order of the tree does not matter.
    assert sorted(chosen) == pilot.choose(scans[::-1], number)


def test_the_command_runs_the_chosen_and_reckons(layout, tmp_path, monkeypatch, capsys):
    bids = tmp_path / "bids"
    for n in range(10):
        path = bids / f"sub-{n}" / "anat" / f"sub-{n}_swi.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    (bids / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    parser = argparse.ArgumentParser()
    pilot.add_arguments(parser)
    options = ["--scans", "4", "--for", "5000", "--profile", "slurm", "--set", "buckets=2"]
    args = parser.parse_args([str(bids), str(layout.root), *options])
    requests: list[Request] = []
    monkeypatch.setattr(pilot, "run", lambda request: requests.append(request) or 0)
    assert pilot.main(args) == 0
    (request,) = requests
    assert len(set(request.participant_label)) == 4
    assert set(request.participant_label) <= {str(n) for n in range(10)}
    assert (request.bids_dir, request.output_dir) == (bids, layout.root)
    assert (request.profile, request.settings, request.cores) == ("slurm", ["buckets=2"], None)
    said = capsys.readouterr().out
    assert "pilot: 4 of 10 scans, of 4 participants" in said
    assert "5000 scans, from 4 that were run" in said
