"""`cmburden forget`: no name and no content below the output folder names the participant."""

import base64
import contextlib
import fcntl
import gzip
import json
import os
import re
import sqlite3
from pathlib import Path

import fabricate
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cmburden.cohort import stage as aggregate
from cmburden.core.keys import hash_of
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.stages import version_of
from cmburden.core.tables import CANDIDATES, ORDERS
from cmburden.review import store
from cmburden.run import cli, forget, work_folder
from cmburden.run.traces import Traces

pytestmark = pytest.mark.slow

#: The participant with two sessions, and one whose id only begins alike.
GONE, ALIKE = "sub-OATS007", "sub-OATS0071"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Layout, dict]:
    """A cohort's output folder, with a file of every kind that names its participants."""
    cohort = fabricate.cohort(tmp_path_factory.mktemp("made"), participants=12)
    layout = cohort.layout
    for scan in cohort.scans:
        one = fabricate.scan_object(scan, cohort.bids_dir)
        for path in (
            layout.preproc(one),
            layout.brain_mask(one),
            layout.viewer(one),
            layout.montage(one),
            layout.transform(one, "warp.nii.gz"),
            layout.cached_t1w(one.participant_id, hash_of(one.scan_id)),
            layout.benchmark("preprocess", one.scan_id),
            layout.subject_page(one.participant_id),
            layout.changes_page(one.participant_id),
        ):
            write(path, gzip.compress(path.name.encode()))
        key = hash_of(one.scan_id)
        rows = [row for row in cohort.candidates if row["scan_id"] == one.scan_id][:1]
        CANDIDATES.write(layout.cached("detect", key), rows)
        write(layout.cached("detect", key, "npz"), b"views")
        write(layout.cached("verify", hash_of(version_of("verify"), key, "w"), "npz"), b"scores")
        record = layout.record("detect", one.scan_id)
        if record.exists():
            content = json.loads(record.read_text())
            write(record, json.dumps(content | {"measures": {"cache_key": key}}).encode())
        work = layout.work / ".snakemake"
        output = f"../work/records/preprocess/{one.scan_id}.json"
        write(work / "metadata" / base64.b64encode(output.encode()).decode(), b"{}")
        write(work / "metadata" / hash_of(key, "b"), json.dumps({"input": [output]}).encode())
        write(work / "slurm_logs/rule_preprocess" / one.scan_id / "1.log", b"x")
        with (layout.logs / "detect" / "all.log").open("a") as stream:
            stream.write(f"INFO {one.scan_id}: 3 candidates\n")
    for name, held in (("0-0", cohort.scans), ("1-0", cohort.scans[:2])):
        marked = {scan["scan_id"]: "sha256" for scan in held}
        write(layout.batch("preprocess", name), json.dumps(marked).encode())
    write(layout.root / ALIKE / "anat" / f"{ALIKE}_x.nii.gz", b"x")
    config = cohort.config | {"participant_label": ["OATS007", "OATS003"]}
    layout.config.write_text(json.dumps(config))
    # Snakemake splits long names.
    output = f"../{'long' * 50}/{GONE}_T2starw.json"
    coded = base64.urlsafe_b64encode(output.encode()).decode()
    write(work / "metadata" / f"@{coded[:254]}" / coded[254:], b"{}")
    for reader in ("AA", "BB"):
        decisions = store.Store(layout, reader)
        for scan in cohort.scans:
            decision = {"scan_id": scan["scan_id"], "mode": "review", "decision": "note"}
            shown = {"blinded": False, "ordering": ORDERS[0], "content_key": scan["content_key"]}
            decisions.decide(decision | shown | {"note": "a note"})
        decisions.close()
    aggregate.run(layout, cohort.bids_dir, cohort.config)
    write(layout.run_record("verify", "bucket-0"), json.dumps({"weights_sha256": "w"}).encode())
    write(layout.report, b"<p>all counted</p>")
    return layout, {"scans": cohort.scans}


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def contents(layout: Layout) -> dict[str, bytes]:
    return {
        path.relative_to(layout.root).as_posix(): path.read_bytes()
        for path in sorted(layout.root.rglob("*"))
        if path.is_file() and path != layout.lock
    }


def naming(layout: Layout, participant: str) -> list[str]:
    """Files below the output folder that name the participant, in name or content, opened up."""
    pattern = re.compile(rf"{participant}(?![A-Za-z0-9])|\b{participant[4:]}(?![A-Za-z0-9])")
    traces = []
    for path in layout.root.rglob("*"):
        texts = [path.relative_to(layout.root).as_posix()]
        coded = "".join(part[1:] for part in path.parts if part[0] == "@") + path.name
        with contextlib.suppress(ValueError):
            texts += [base64.b64decode(coded[: len(coded) // 4 * 4], b"-_").decode("latin-1")]
        if path.is_file():
            content = path.read_bytes()
            texts.append(content.decode("latin-1"))
            if path.suffix == ".parquet":
                texts += [str(pq.read_table(path, partitioning=None).to_pylist())]
            if path.suffix == ".sqlite":
                with contextlib.closing(sqlite3.connect(path)) as base:
                    texts += list(base.iterdump())
            if path.name.endswith(".gz"):
                texts.append(
                    gzip.decompress(content).decode("latin-1") if content[:1] == b"\x1f" else ""
                )
        if any(pattern.search(text) for text in texts):
            traces.append(str(path))
    return traces


def test_nothing_names_a_forgotten_participant_and_the_others_stay(made, capsys):
    layout, cohort = made
    theirs = {s["scan_id"] for s in cohort["scans"] if s["participant_id"] == GONE}
    assert len(theirs) == 2
    assert len(naming(layout, GONE)) > 40
    before = contents(layout)
    assert cli.main(["forget", GONE, str(layout.root), "--dry-run"]) == 0
    counted = capsys.readouterr().out
    assert contents(layout) == before
    assert cli.main(["forget", GONE.removeprefix("sub-"), str(layout.root)]) == 0
    said = capsys.readouterr().out
    assert counted.splitlines()[1:-1] == said.splitlines()[1:-2]
    assert "4 decisions" in said
    assert "a run on it would process sub-OATS007 again" in said
    assert naming(layout, GONE) == []
    # Nothing of the others is gone but what counts all, and nothing but shared tables is changed.
    after = contents(layout)
    gone = {name for name in set(before) - set(after) if "OATS007" not in name}
    tables = {f"cohort/{name}.parquet" for name in COHORT_TABLES}
    caches = {name for name in gone if name.startswith("work/cache/")}
    metadata = {name for name in gone if name.startswith("work/.snakemake/metadata/")}
    shards = {name for name in gone if name.startswith("work/verify/bucket-")}
    marks = {"work/preprocess/batch-0-0.json"}
    assert marks <= gone
    rest = gone - tables - caches - metadata - shards - marks
    assert rest <= {"report/index.html", "work/candidates.parquet", "work/phenotype_problems.json"}
    assert (len(caches), len(metadata)) == (6, 5)
    assert 1 <= len(shards) <= 2
    changed = {name for name in after if before[name] != after[name]}
    assert changed == {
        "logs/detect/all.log",
        "reviews/AA.sqlite",
        "reviews/BB.sqlite",
        "work/config.yaml",
        "work/manifest.parquet",
    }
    assert len(pd.read_parquet(layout.manifest)) == len(cohort["scans"]) - 2
    assert json.loads(json.dumps(read_yaml(layout.config)))["participant_label"] == ["OATS003"]
    reader = store.Store(layout, "AA")
    assert len(reader.standing()) == len(cohort["scans"]) - 2
    reader.close()
    # Once more: nothing is there, and nothing is removed.
    assert cli.main(["forget", GONE, str(layout.root)]) == 0
    assert "Nothing in" in capsys.readouterr().out
    assert contents(layout).keys() == after.keys()


def read_yaml(path: Path) -> dict:
    import yaml

    return yaml.safe_load(path.read_text())


def test_a_folder_that_a_run_holds_is_left_alone(tmp_path, capsys):
    layout = Layout(tmp_path)
    layout.work.mkdir()
    write(tmp_path / "sub-01/a", b"x")
    with layout.lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert cli.main(["forget", "sub-01", str(tmp_path)]) == 2
    assert "another run is at work here" in capsys.readouterr().err
    assert (tmp_path / "sub-01/a").exists()


@pytest.mark.parametrize("wrong", ["sub-", "", "../x", "sub-a/b"])
def test_what_is_no_id_is_one_sentence(tmp_path, capsys, wrong):
    Layout(tmp_path).work.mkdir()
    assert cli.main(["forget", wrong, str(tmp_path)]) == 2
    assert "give it as sub-LABEL" in capsys.readouterr().err


def test_no_link_is_followed(tmp_path):
    out, elsewhere = Layout(tmp_path / "out"), tmp_path / "elsewhere"
    out.work.mkdir(parents=True)
    write(elsewhere / "sub-01.log", b"sub-01\n")
    (out.root / "sub-01").symlink_to(elsewhere)
    (out.root / "link.log").symlink_to(elsewhere / "sub-01.log")
    assert cli.main(["forget", "sub-01", str(out.root)]) == 0
    assert not os.path.lexists(out.root / "sub-01")
    assert (elsewhere / "sub-01.log").read_bytes() == b"sub-01\n"


def test_ids_of_all_kinds_are_told_apart():
    traces = Traces("sub-ü2", ["sub-ü", "sub-ü2x", "sub-ü2_b"])
    for text in ("sub-ü2", "/sub-ü2/anat", "sub-ü2_T2starw", json.dumps("sub-ü2_T2starw")):
        assert traces.names(text)
    for text in ("sub-ü", "sub-ü2x_T2starw", "sub-ü2_b_T2starw", "xsub-ü2", "sub-ü22"):
        assert not traces.names(text)


def test_a_damaged_file_is_one_sentence(tmp_path, capsys):
    layout = Layout(tmp_path)
    write(layout.manifest.with_name("odd.parquet"), b"PAR1 torn")
    assert cli.main(["forget", "sub-01", str(tmp_path)]) == 2
    assert "odd.parquet: not a readable table" in capsys.readouterr().err
    layout.manifest.with_name("odd.parquet").unlink()
    write(layout.reader_file("AA"), b"SQLite format 3\0" + np.arange(200, dtype=np.uint8).tobytes())
    assert cli.main(["forget", "sub-01", str(tmp_path)]) == 2
    assert "AA.sqlite: cannot be changed" in capsys.readouterr().err


def test_intermediate_results_elsewhere_are_forgotten_too(tmp_path):
    layout = Layout(tmp_path / "out")
    work_folder.place(layout, tmp_path / "scratch")
    write(layout.record("preprocess", "sub-01_swi"), b"{}")
    write(layout.record("preprocess", "sub-02_swi"), b"{}")
    assert forget.forget(layout, "sub-01")
    assert [path.name for path in (tmp_path / "scratch").rglob("*.json")] == ["sub-02_swi.json"]
