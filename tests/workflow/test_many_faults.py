"""A cohort of 200 scans with 29 faults, some of which end the process that works on the scan: one
run gives all tables, a row a participant with the right reason; the next run does nothing.

The faults are real ones up to here: images on disk, volumes of earlier stages, and processes that
are killed, that abort and that have no memory. Sound scans are preprocessed beforehand: half a
minute of the 200. About a minute and a half on two cores.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import prepared
import pytest
import tiny_models
from steps import jobs, run

from cmburden.core import config
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.scan import Scan
from cmburden.core.stages import RECORDED_STAGES
from cmburden.images import volume as images
from cmburden.index import stage as index
from cmburden.space.transform import Transform, save_transform

pytestmark = pytest.mark.long

PARTICIPANTS = 200
SHAPE, ZOOMS = (64, 64, 30), (2.5, 2.5, 4.0)
AFFINE = np.diag([*ZOOMS, 1.0])
SMALL = (24, 24, 12)
#: No candidate: the time of 200 scans' pictures is not what is tested.
SETTINGS = config.load(
    {"buckets": 2, "detect": {"min_probability": 1}, "register": {"use_t1w": False}}
)

#: What a process does at work on a scan whose id ends with the deed and the stage.
DEEDS = """
import importlib.abc, importlib.util, os, resource, signal, sys

FIRST_CALLS = {
    "cmburden.preprocess.stage": ("preprocess", "load_volume"),
    "cmburden.register.stage": ("register", "of_scan"),
    "cmburden.detect.stage": ("detect", "checksums"),
    "cmburden.verify.stage": ("verify", "load_transform"),
}

def act(stage, text):
    if "kill" + stage in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "abort" + stage in text:
        os.abort()
    if "raise" + stage in text:
        raise ValueError("a bug that nobody foresaw, in /home/somebody/study")
    if "memory" + stage in text:
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, -1))
        try:
            bytearray(2**32)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in FIRST_CALLS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        execute, (stage, function) = spec.loader.exec_module, FIRST_CALLS[name]

        def exec_module(module):
            execute(module)
            real = getattr(module, function)

            def acting(*arguments, **named):
                act(stage, " ".join(str(getattr(a, "scan_id", a)) for a in arguments))
                return real(*arguments, **named)

            setattr(module, function, acting)

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


def head(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A ball in noisy air, darker from its middle to its edge."""
    zooms = np.reshape(ZOOMS, (3, 1, 1, 1))
    points = (np.indices(shape).T - (np.array(shape) - 1) / 2).T * zooms
    tissue = np.clip(400 - 5 * np.linalg.norm(points, axis=0), 0, None)
    return (tissue + np.abs(np.random.default_rng(0).normal(0, 5, shape))).astype(np.float32)


def packed(data: np.ndarray, affine: np.ndarray = AFFINE) -> bytes:
    return gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), 1)


def with_nan() -> np.ndarray:
    data = head(SMALL)
    data[3, 3, 3] = np.nan
    return data


def phase() -> np.ndarray:
    return np.random.default_rng(0).uniform(-np.pi, np.pi, SHAPE).astype(np.float32)


def damaged_gzip() -> bytes:
    whole = bytearray(packed(head(SMALL)))
    whole[-6] ^= 255  # of the checksum
    return bytes(whole)


def colours() -> np.ndarray:
    return np.zeros(SMALL, [("R", "u1"), ("G", "u1"), ("B", "u1")])


#: Images: name -> (reason, content).
IMAGES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty": ("empty_file", lambda: b""),
    "text": ("unreadable", lambda: b"this is no image, but it has many letters" * 20),
    "gzippedtext": ("unreadable", lambda: gzip.compress(b"this is no image" * 50)),
    "crc": ("unreadable", damaged_gzip),
    "colours": ("unreadable", lambda: packed(colours())),
    "half": ("truncated", lambda: packed(head(SMALL))[:4000]),
    "headeronly": ("truncated", lambda: gzip.compress(packed_header())),
    "annex": ("not_present", lambda: b"/annex/objects/MD5E-s7--0cc175b9c0f1b6a831c399e269772661\n"),
    "nan": ("not_finite", lambda: packed(with_nan())),
    "infinite": ("not_finite", lambda: packed(np.where(head(SMALL) > 300, np.inf, 1.0))),
    "timeseries": ("not_3d", lambda: packed(np.stack([head(SMALL)] * 3, -1))),
    "flat": ("not_3d", lambda: packed(head(SMALL)[..., :1])),
    "constant": ("constant", lambda: packed(np.full(SMALL, 7, np.int16))),
    "phase": ("is_phase", lambda: packed(phase())),
    "complexvalues": ("is_phase", lambda: packed(head(SMALL).astype(np.complex64))),
    "coarse": ("voxel_size", lambda: packed(head(), np.diag([2.5, 2.5, 8.0, 1.0]))),
    "part": ("coverage", lambda: packed(head()[..., 8:22])),
}
#: What a process does at work on the scan: all are sound images.
DEATHS = {
    f"{deed}{stage}": "crashed"
    for deed, stage in (
        ("kill", "preprocess"),
        ("abort", "preprocess"),
        ("memory", "preprocess"),
        ("raise", "preprocess"),
        ("kill", "register"),
        ("kill", "detect"),
        ("memory", "detect"),
        ("raise", "detect"),
        ("kill", "verify"),
        ("raise", "verify"),
    )
}
#: Volumes that preprocess left.
VOLUMES = {"nanvolume": "not_finite", "infvolume": "not_finite"}
FAULTS = {name: reason for name, (reason, _) in IMAGES.items()} | DEATHS | VOLUMES


def packed_header() -> bytes:
    return nib.Nifti1Image(head(SMALL), AFFINE).to_bytes()[:352]


def label(number: int, fault: str | None) -> str:
    return f"{number:03d}{fault or ''}"


def write_tree(bids: Path, faults: dict[int, str]) -> None:
    for number in range(PARTICIPANTS):
        name = label(number, faults.get(number))
        path = bids / f"sub-{name}" / "anat" / f"sub-{name}_T2starw.nii.gz"
        path.parent.mkdir(parents=True)
        fault = faults.get(number, "")
        content = IMAGES[fault][1]() if fault in IMAGES else f"scan {number}".encode()
        path.write_bytes(content)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text('{"EchoTime": 0.02}')
    (bids / "dataset_description.json").write_text('{"Name": "many", "BIDSVersion": "1.10.0"}')


def write_results(layout: Layout, scans: list[Scan]) -> None:
    """What preprocess and register would leave of the scans whose fault is in a later stage."""
    mask = head(SMALL) > 250
    ones = np.where(mask, 1, 0.05).astype(np.float32)
    first = scans[0]
    save_transform(layout, first, Transform(np.eye(3), np.zeros(3)))
    images.save_volume(layout.brain_mask(first), mask, AFFINE, np.uint8)
    images.save_volume(layout.regions(first), mask * np.int16(9), AFFINE, np.int16)
    images.save_volume(layout.preproc(first), ones, AFFINE, np.float32)
    for scan in scans:
        for of in (layout.brain_mask, layout.regions, layout.preproc):
            if scan is not first:
                of(scan).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(of(first), of(scan))
        affine = layout.transform(scan, "affine.mat")
        if scan is not first:
            shutil.copy(layout.transform(first, "affine.mat"), affine)
        for value in ("nan", "inf"):
            if scan.participant_id.endswith(f"{value}volume"):
                ill = np.where(mask, float(value), 0.05)
                images.save_volume(layout.preproc(scan), ill, AFFINE, np.float32)
        for stage in ("preprocess", "register"):
            if not scan.participant_id.endswith(stage):
                prepared.add_record(layout, scan, stage, SETTINGS)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> tuple[Path, dict[int, str]]:
    folder = tmp_path_factory.mktemp("many")
    # Spread over the cohort, so that sound scans stand before and behind each.
    faults = {3 + 6 * k: fault for k, fault in enumerate(FAULTS)}
    write_tree(folder / "bids", faults)
    layout = Layout(folder / "out")
    scans = index.run(folder / "bids", layout, SETTINGS)
    ready = [s for s in scans if not s.participant_id[7:] or s.participant_id[7:] not in IMAGES]
    write_results(layout, ready)
    tiny_models.write(folder / "models")
    (folder / "deeds").mkdir()
    (folder / "deeds" / "sitecustomize.py").write_text(DEEDS)
    return folder, faults


def options(folder: Path) -> list[str]:
    settings = ["threads=2", "detect.min_probability=1", "register.use_t1w=false"]
    words = [word for setting in settings for word in ("--set", setting)]
    return [*words, *tiny_models.settings(folder / "models")]


def test_one_run_gives_every_participant_a_row_and_the_next_does_nothing(cohort, monkeypatch):
    folder, faults = cohort
    searched = [str(folder / "deeds"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, searched)))
    assert run(folder, *options(folder)) == 0
    layout = Layout(folder / "out")
    scans = pd.read_parquet(layout.table("scans")).set_index("participant_id")
    assert len(scans) == scans.index.nunique() == PARTICIPANTS
    wanted = {
        f"sub-{label(number, faults.get(number))}": FAULTS.get(faults.get(number, ""))
        for number in range(PARTICIPANTS)
    }
    reasons = scans["reason"].astype(object)
    assert reasons.where(reasons.notna(), None).to_dict() == wanted
    # 0 is a number of those that were read, and of nobody else.
    read = scans["status"] == "ok"
    assert read.sum() == PARTICIPANTS - len(FAULTS)
    assert scans.loc[read, "n_cmb"].eq(0).all() and scans.loc[~read, "n_cmb"].isna().all()
    assert scans.loc[~read, "message"].str.contains("To do: ").all()
    for fault, number in {fault: number for number, fault in faults.items()}.items():
        row = scans.loc[f"sub-{label(number, fault)}"]
        if fault in DEATHS:
            assert row["stage"] == next(s for s in RECORDED_STAGES if fault.endswith(s)), fault
            assert (layout.root / row["log"]).exists()
        if fault.startswith("kill"):
            assert "signal 9: often for want of memory" in row["message"]
        if fault.startswith("raise"):
            assert "a bug that nobody foresaw, in PATH" in row["message"]
            assert "somebody" not in row["message"]
            assert "Traceback (most recent call last)" in (layout.root / row["log"]).read_text()
    for name in COHORT_TABLES:
        assert layout.table(name).exists()
    assert layout.report.exists() and layout.checked.exists()
    assert jobs(folder, *options(folder)) == {}
