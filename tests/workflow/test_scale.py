"""Planning at scale: the dry run stays near that of a bare Snakefile; tables too.

A hundred scans here; ``python -m cmburden.benchmarks.cohort`` does thousands (docs/scale.md).
"""

import pytest

from cmburden.benchmarks import cohort as scale_benchmark
from cmburden.benchmarks import pretend_tree as synthetic_manifest
from cmburden.core import config
from cmburden.core.paths import Layout
from cmburden.core.tables import MANIFEST
from cmburden.index import stage as index

pytestmark = pytest.mark.long

SCANS, BUCKETS, BATCHES = 100, 4, 5


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict:
    return scale_benchmark.plan(tmp_path_factory.mktemp("scale"), SCANS, BUCKETS)


def test_jobs_are_those_of_batches_and_buckets(measured):
    assert measured["scans"] == SCANS
    assert measured["jobs_bare"] == 2 * SCANS + 4 * BUCKETS + 3
    # 100 scans fill all batches, or nearly so; `verified` is the job more.
    assert measured["jobs"] <= 2 * BUCKETS * BATCHES + 4 * BUCKETS + 4
    assert measured["jobs"] > 2 * BUCKETS * (BATCHES - 1)


def test_planning_stays_near_snakemakes_own(measured):
    # Ours indexes as well, and has the package's start on top: both weigh most in small cohorts.
    ours, bare = measured["ours"], measured["bare"]
    assert ours["cpu_seconds"] < 1.6 * bare["cpu_seconds"] + 3
    assert ours["peak_mb"] < 1.5 * bare["peak_mb"] + 100


def test_tables_hold_what_was_put_in(tmp_path):
    found = scale_benchmark.tables(tmp_path, 200, 4)
    assert found["scans"] == 200
    # Means a scan of those that were read.
    assert 0.5 < found["lesions"] / (200 * 5) < 1.5
    assert 0.8 < found["candidates"] / (200 * 115) < 1.1
    assert found["peak_mb"] < 600


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
