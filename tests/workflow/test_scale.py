"""Planning at scale: the dry run stays near that of a bare Snakefile with as many jobs.

300 scans here; ``python -m cmburden.scale_benchmark`` does 5,000.
"""

import pytest

from cmburden import config, index, scale_benchmark, synthetic_manifest
from cmburden.paths import Layout
from cmburden.tables import MANIFEST

SCANS, BUCKETS = 300, 6


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict:
    return scale_benchmark.run(tmp_path_factory.mktemp("scale"), SCANS, BUCKETS)


def test_the_bare_snakefile_has_as_many_jobs(measured):
    assert measured["scans"] == SCANS
    assert measured["jobs"] == measured["jobs_bare"] == 2 * SCANS + 4 * BUCKETS + 3


def test_planning_stays_near_snakemakes_own(measured):
    # Ours indexes as well, and has the package's start on top: both weigh most in small cohorts.
    assert measured["dry_run_seconds"] < 4 * measured["bare_seconds"] + 5
    assert measured["dry_run_peak_mb"] < 2 * measured["bare_peak_mb"] + 100


def test_a_manifest_without_a_tree_is_the_trees(tmp_path):
    bids, layout = tmp_path / "bids", Layout(tmp_path / "out")
    synthetic_manifest.write_tree(bids, 30)
    index.run(bids, layout, config.load({"buckets": BUCKETS}))
    synthetic_manifest.write_manifest(tmp_path / "made.parquet", 30, BUCKETS)
    made, found = MANIFEST.read(tmp_path / "made.parquet"), MANIFEST.read(layout.manifest)
    # Content keys differ: there is no content.
    columns = [name for name in MANIFEST.names if name not in ("content_key", "t1w_path")]
    assert made[columns].equals(found[columns])


def test_names_are_the_same_every_time():
    assert synthetic_manifest.names(200) == synthetic_manifest.names(400)[:200]
    assert synthetic_manifest.names(50, seed=1) != synthetic_manifest.names(50)
