"""docs/reruns.md, row by row: each change is made for real, and the jobs of a dry run are counted.

Scans that fail as data stand for all: which jobs run does not depend on what they find. About two
minutes on two cores.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tiny_models
from steps import jobs, run

from cmburden.core import resources
from cmburden.core.keys import batch_of, bucket_of
from cmburden.core.paths import Layout
from cmburden.review.store import Store

pytestmark = pytest.mark.long

PAGE = resources.root() / "docs" / "reruns.md"
#: Participant and session of each scan: two people with two sessions each.
SCANS, BUCKETS = {1: ("01", 1), 2: ("01", 2), 3: ("23", 1), 4: ("23", 2)}, 2
#: Batches of a bucket, where one is the rule (steps.py).
MORE = 3
CHANGES: dict[str, Callable] = {}


def rows() -> dict[str, list[str]]:
    """The page's table: change -> cells of the stages (longitudinal too), then of the cohort."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:7] for row in cells}


def write_scan(path: Path, value: int, **sidecar) -> None:
    """A constant image, as no scan is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.full((12, 12, 6), value, np.int16), np.diag([1, 1, 3, 1.0])), path)
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "cohort"
    for number in SCANS:
        write_scan(image(folder, number), number, EchoTime=0.02, PatientPosition="HFS")
    (folder / "bids/dataset_description.json").write_text(
        '{"Name": "reruns", "BIDSVersion": "1.10.0"}'
    )
    (folder / "bids/participants.tsv").write_text("participant_id\tage\nsub-01\t70\n")
    tiny_models.write(folder / "models")
    # "1" and "all" must differ, and with more batches each scan has its own.
    names = [image(folder, number).name.split(".")[0] for number in SCANS]
    assert len({bucket_of(name, BUCKETS) for name in names}) == BUCKETS
    assert len({batch_of(name, BUCKETS, MORE) for name in names}) == len(SCANS)
    assert bucket_of("sub-01", BUCKETS) != bucket_of("sub-23", BUCKETS)
    # Without sub-23 both buckets still hold a scan, and only one of them held its scans.
    assert len({bucket_of(name, BUCKETS) for name in names[:2]}) == BUCKETS
    assert len({bucket_of(name, BUCKETS) for name in names[2:]}) == 1
    assert run(folder, *tiny_models.settings(folder / "models")) == 0
    return folder


def image(folder: Path, number: int) -> Path:
    label, session = SCANS[number]
    name = f"sub-{label}_ses-{session}_T2starw.nii.gz"
    return folder / f"bids/sub-{label}/ses-{session}/anat" / name


@pytest.mark.parametrize("change", rows())
def test_a_change_runs_what_the_page_says(study, change):
    with CHANGES[change](study) as how:
        folder = how.pop("folder", study)
        models = how.pop("models", folder / "models")
        options = tiny_models.settings(models) + how.pop("options", [])
        planned = jobs(folder, *options, source=how.pop("source", None))
    buckets = 1 if change == "fewer buckets" else BUCKETS
    many = dict.fromkeys(("preprocess", "register", "detect", "verify", "longitudinal"), buckets)
    if change == "more batches":
        many |= dict.fromkeys(("preprocess", "register"), len(SCANS))
    *stages, cohort = rows()[change]
    wanted = {
        rule: {"–": 0, "1": 1, "all": many[rule]}[cell]
        for rule, cell in zip(many, stages, strict=True)
    } | dict.fromkeys(("aggregate", "report", "check"), {"–": 0, "yes": 1}[cohort])
    assert planned == {rule: number for rule, number in wanted.items() if number}


def test_every_change_has_its_row():
    assert list(rows()) == list(CHANGES)


# --- the changes, in the order of the page; each is undone ---


def change(name: str):
    """Register a generator ``study -> what is different``: folder, models, options or source."""

    def register(function: Callable[[Path], Iterator[dict]]):
        CHANGES[name] = contextlib.contextmanager(function)
        return function

    return register


@contextlib.contextmanager
def restored(*paths: Path) -> Iterator[None]:
    before = {path: path.read_bytes() for path in paths}
    try:
        yield
    finally:
        for path, content in before.items():
            path.write_bytes(content)


@contextlib.contextmanager
def moved(source: Path, target: Path) -> Iterator[Path]:
    source.rename(target)
    try:
        yield target
    finally:
        target.rename(source)


@change("nothing")
def nothing(study):
    yield {}


@change("a scan is touched")
def touch(study):
    os.utime(image(study, 3))
    yield {}


def _sidecar(study: Path, **values) -> Iterator[dict]:
    path = Path(str(image(study, 3)).replace(".nii.gz", ".json"))
    with restored(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        yield {}


@change("a sidecar's unused key")
def unused_key(study):
    yield from _sidecar(study, PatientPosition="FFS")


@change("a sidecar's FlipAngle")
def flip_angle(study):
    yield from _sidecar(study, FlipAngle=12)


@change("a sidecar's EchoTime")
def echo_time(study):
    yield from _sidecar(study, EchoTime=0.03)


@change("an image's header only")
def header(study):
    path = image(study, 3)
    with restored(path):
        same = nib.load(path)
        same.header["descrip"] = b"another converter"
        nib.save(nib.Nifti1Image(np.asarray(same.dataobj), same.affine, same.header), path)
        yield {}


def _replaced(folder: Path) -> None:
    write_scan(image(folder, 3), 9, EchoTime=0.02, PatientPosition="HFS")


@change("a replaced scan")
def replaced(study):
    with restored(image(study, 3)):
        _replaced(study)
        yield {}


@change("an added session")
def added(study):
    folder = study / "bids/sub-23/ses-3"
    write_scan(folder / "anat/sub-23_ses-3_T2starw.nii.gz", 5, EchoTime=0.02)
    yield {}
    shutil.rmtree(folder)


@change("a removed participant")
def removed(study):
    with moved(study / "bids/sub-23", study / "sub-23"):
        yield {}


@change("an edited age")
def edited_age(study):
    path = study / "bids/participants.tsv"
    with restored(path):
        path.write_text(path.read_text().replace("70", "71"))
        yield {}


@change("a reader's decision")
def decision(study):
    layout = Layout(study / "out")
    own = Store(layout, "A")
    own.decide(
        {
            "scan_id": "sub-03_T2starw",
            "mode": "free-hand",
            "decision": "read",
            "blinded": True,
            "ordering": "random",
            "content_key": "k",
        }
    )
    own.close()
    yield {}
    shutil.rmtree(layout.reader_file("A").parent)
    layout.reviews.unlink()


@change("the report's title")
def title(study):
    yield {"options": ["--set", "report.title=Other"]}


@change("the order of suffixes")
def suffix_order(study):
    yield {"options": ["--set", "index.suffixes={SWI: SWI, swi: SWI, T2starw: GRE}"]}


@change("a threshold")
def threshold(study):
    yield {"options": ["--set", "verify.thresholds.definite=0.9"]}


@change("how far a lesion may move (longitudinal)")
def max_distance(study):
    yield {"options": ["--set", "longitudinal.max_distance_mm=4"]}


def _other_weights(study: Path, kind: str) -> Iterator[dict]:
    models = study / "other_models"
    shutil.copytree(study / "models", models)
    tiny_models.write(models, seed=1, kinds=(kind,))
    yield {"models": models}
    shutil.rmtree(models)


@change("new YOLO weights")
def new_yolo(study):
    yield from _other_weights(study, "verifier")


@change("new CNN weights")
def new_cnn(study):
    yield from _other_weights(study, "detector")


@change("a moved model")
def moved_model(study):
    with moved(study / "models", study / "elsewhere") as models:
        yield {"models": models}


@change("the precision")
def precision(study):
    yield {"options": ["--set", "precision=fast"]}


@change("another device")
def device(study):
    yield {"options": ["--set", "detect.device=cpu", "--set", "verify.device=cpu"]}


@change("fewer buckets")
def buckets(study):
    yield {"options": ["--set", "buckets=1"]}


@change("more batches")
def batches(study):
    yield {"options": ["--set", f"batches={MORE}"]}


def _checkout(study: Path, stage: str | None = None) -> Iterator[dict]:
    """The code elsewhere, with the next version of ``stage``; scripts keep their times."""
    copy = study / "checkout"
    for name in ("src", "workflow", "config"):
        shutil.copytree(resources.root() / name, copy / name)
    shutil.copy2(resources.root() / "Snakefile", copy)
    if stage:
        module = copy / "src" / "cmburden" / "core" / "stages.py"
        text, times = re.subn(
            rf'Stage\("{stage}", \d+,', f'Stage("{stage}", 999,', module.read_text()
        )
        assert times == 1
        module.write_text(text)
    yield {"source": copy / "src"}
    shutil.rmtree(copy)


@change("the version of a stage (register)")
def version(study):
    yield from _checkout(study, "register")


@change("another checkout of the same version")
def checkout(study):
    yield from _checkout(study)


@change("a moved BIDS folder")
def moved_bids(study):
    other = study / "other"
    other.mkdir()
    (other / "out").symlink_to(study / "out")
    with moved(study / "bids", other / "bids"):
        yield {"folder": other, "models": study / "models"}
    shutil.rmtree(other)


@change("a moved cohort folder")
def moved_cohort(study):
    with moved(study, study.with_name("moved")) as folder:
        yield {"folder": folder}


@change("a scan replaced after a move")
def moved_and_replaced(study):
    with moved(study, study.with_name("moved")) as folder, restored(image(folder, 3)):
        _replaced(folder)
        yield {"folder": folder}
