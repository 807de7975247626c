"""The workflow's jobs, called as its scripts call them."""

from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import tiny_models

from cmburden.cohort import stage as aggregate
from cmburden.core import config
from cmburden.core.errors import CMBurdenError
from cmburden.core.keys import batch_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.schema import Table
from cmburden.core.stages import SCAN_STAGES
from cmburden.core.tables import CANDIDATES, SCANS
from cmburden.index import stage as index
from cmburden.report import stage as report
from cmburden.run import jobs

pytestmark = pytest.mark.slow

SCAN = "sub-01_T2starw"
BATCH = batch_of(SCAN, 1, 5)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict:
    """The configuration of a cohort whose one scan is constant, indexed."""
    folder = tmp_path_factory.mktemp("cohort")
    anat = folder / "bids" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    image = nib.Nifti1Image(np.full((12, 12, 6), 3, np.int16), np.diag([1, 1, 3, 1.0]))
    nib.save(image, anat / f"{SCAN}.nii.gz")
    description = '{"Name": "jobs", "BIDSVersion": "1.10.0"}'
    (folder / "bids" / "dataset_description.json").write_text(description)
    tiny_models.write(folder / "models")
    settings = config.load(
        {
            "bids_dir": str(folder / "bids"),
            "output_dir": str(folder / "out"),
            "buckets": 1,
            "detect": {"model": str(folder / "models" / "detector")},
            "verify": {"model": str(folder / "models" / "verifier")},
        }
    )
    index.run(folder / "bids", Layout(folder / "out"), settings)
    return settings


def job(settings: dict, stage: str, unit: str, **wildcards: str) -> SimpleNamespace:
    """What Snakemake hands to the script of a stage."""
    return SimpleNamespace(
        config=settings,
        log=[str(Layout(settings["output_dir"]).log(stage, unit))],
        threads=1,
        wildcards=SimpleNamespace(**wildcards),
    )


@pytest.fixture(scope="module")
def done(settings) -> Layout:
    for stage in SCAN_STAGES:
        jobs.batch_job(stage, job(settings, stage, f"batch-{BATCH}", batch=BATCH))
    for stage in ("detect", "verify"):
        jobs.bucket_job(stage, job(settings, stage, "0", bucket="0"))
    layout = Layout(settings["output_dir"])
    aggregate.run(layout, Path(settings["bids_dir"]), settings)
    report.run(layout, settings)
    return layout


def test_tables_without_a_bids_folder_are_one_sentence(tmp_path):
    settings = config.load({"output_dir": str(tmp_path)})
    with pytest.raises(SystemExit, match="config bids_dir: names no folder; name the BIDS folder"):
        jobs.aggregate_job(job(settings, "aggregate", "all"))


@pytest.mark.parametrize(
    ("stage", "log"),
    [
        ("preprocess", f"logs/preprocess/{SCAN}.log"),
        ("register", f"logs/register/{SCAN}.log"),
        ("detect", "logs/detect/0.log"),
        ("verify", "logs/verify/0.log"),
    ],
)
def test_a_record_names_the_log_of_its_job(done, stage, log):
    outcome = Outcome.read(done.record(stage, SCAN))
    assert outcome.log == log
    assert (done.root / log).exists()


def test_the_table_names_the_log_of_the_stage_that_failed(done):
    (row,) = SCANS.read(done.table("scans")).to_dict("records")
    assert (row["reason"], row["stage"]) == ("constant", "preprocess")
    assert row["log"] == f"logs/preprocess/{SCAN}.log"
    assert row["message"] in (done.root / row["log"]).read_text()


class Logs(HTMLParser):
    """Links of a page that lead to a log."""

    def __init__(self, page: Path):
        super().__init__()
        self.links: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        target = dict(attrs).get("href") or ""
        if tag == "a" and target.endswith(".log"):
            self.links.append(target)


def test_links_to_logs_open_them(done):
    for page in (done.report, done.subject_page("sub-01")):
        links = Logs(page).links
        assert len(links) == 1, page
        assert (page.parent / links[0]).resolve() == done.log("preprocess", SCAN).resolve()
        assert (page.parent / links[0]).exists()


@pytest.mark.parametrize("content", [b"", b"PAR1 torn"])
def test_a_torn_shard_is_removed_so_that_the_next_run_makes_it(done, settings, content):
    shard = done.bucket("detect", 0)
    sound = shard.read_bytes()
    shard.write_bytes(content)
    with pytest.raises(SystemExit, match=r"was damaged .* and is removed; run again"):
        jobs.bucket_job("verify", job(settings, "verify", "0", bucket="0"))
    assert not shard.exists()
    jobs.bucket_job("detect", job(settings, "detect", "0", bucket="0"))
    assert shard.read_bytes() == sound


def test_a_flipped_bit_of_a_shard_is_no_other_number(tmp_path):
    path = tmp_path / "bucket-0.parquet"
    rows = [{"scan_id": f"s{k}", "candidate_id": k, "p_cnn": k / 997} for k in range(500)]
    table = Table(
        "t", "a row", ("candidate_id",), tuple(c for c in CANDIDATES.columns if c.name in rows[0])
    )
    table.write(path, rows)
    content, seen = path.read_bytes(), 0
    wanted = table.read(path)
    for place in range(40, len(content) - 400, 37):
        path.write_bytes(content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :])
        try:
            read = table.read(path)
        except CMBurdenError:
            seen += 1
        else:
            assert read.equals(wanted)
    assert seen > 50


def test_a_record_of_before_logs_were_named_is_read(done, tmp_path):
    old = tmp_path / "record.json"
    old.write_text(
        '{"stage": "detect", "scan_id": "s", "status": "ok", "reason": null, "message": null, '
        '"seconds": 1.0, "version": 7, "log": null, "measures": {}}'
    )
    assert Outcome.read(old).log is None
