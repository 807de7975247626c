"""A scan with a damaged file is planned from its first stage on; the others keep their results."""

from cmburden.core import remake
from cmburden.core.files import write_json
from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.stages import RECORDED_STAGES, SCAN_STAGES

BUCKETS = 4
ONE, OTHER = "sub-1_T2starw", "sub-4_T2starw"


def written(layout: Layout) -> set[str]:
    files = (p for p in layout.root.rglob("*") if p.is_file())
    return {p.relative_to(layout.root).as_posix() for p in files}


def test_marked_scans_are_forgotten_with_what_was_made_of_them(tmp_path):
    assert bucket_of(ONE, BUCKETS) != bucket_of(OTHER, BUCKETS)
    layout = Layout(tmp_path)
    for scan_id in (ONE, OTHER):
        for stage in RECORDED_STAGES:
            Outcome(stage, scan_id, "ok").write(layout.record(stage, scan_id))
    tables = [layout.table("scans"), layout.report]
    ends = [layout.aggregated, layout.checked]
    shards = [layout.bucket(s, b) for s in ("detect", "verify") for b in range(BUCKETS)]
    person = bucket_of("sub-1", BUCKETS)
    followed = [layout.bucket("longitudinal", number) for number in range(BUCKETS)]
    for path in (*tables, *ends, *shards, *followed, layout.cached("detect", "ab")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    # The marks of two settings, of which one holds both scans.
    for stage in SCAN_STAGES:
        for name, held in (("0-0", (ONE, OTHER)), ("1-0", (ONE,)), ("1-1", (OTHER,))):
            write_json(layout.batch(stage, name), dict.fromkeys(held, "sha256"))
    before = written(layout)
    assert remake.forget_marked(layout, BUCKETS) == []
    assert written(layout) == before
    remake.mark(layout, ONE)
    remake.mark(layout, ONE)
    assert remake.marked(layout) == [ONE]
    assert remake.forget_marked(layout, BUCKETS) == [ONE]
    number = bucket_of(ONE, BUCKETS)
    assert before - written(layout) == {
        *(f"work/records/{stage}/{ONE}.json" for stage in RECORDED_STAGES),
        *(f"work/{stage}/batch-{name}.json" for stage in SCAN_STAGES for name in ("0-0", "1-0")),
        f"work/detect/bucket-{number}.parquet",
        f"work/verify/bucket-{number}.parquet",
        f"work/longitudinal/bucket-{person}.parquet",
        *(path.relative_to(tmp_path).as_posix() for path in ends),
    }
    assert remake.marked(layout) == []
