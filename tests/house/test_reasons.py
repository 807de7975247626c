"""Every reason code is raised for real, by the stage that raises it, on a small BIDS tree."""

from __future__ import annotations

import dataclasses
import functools
import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tiny_models

from cmburden.cohort import stage as aggregate
from cmburden.core import config
from cmburden.core.errors import REASONS, ScanError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.tables import CANDIDATES, REJECTED, SCANS
from cmburden.detect import candidates
from cmburden.detect import stage as detect
from cmburden.images import brain
from cmburden.images import volume as images
from cmburden.index import stage as index
from cmburden.preprocess import stage as preprocess
from cmburden.register import stage as register
from cmburden.review import store
from cmburden.space import template

NAME = "sub-01/anat/sub-01_T2starw"
#: A grid that holds a brain: 160 x 160 x 120 mm.
SHAPE, ZOOMS = (64, 64, 30), (2.5, 2.5, 4.0)
AFFINE = np.diag([*ZOOMS, 1.0])
AFFINE_ONLY = {"use_t1w": False, "nonlinear": False}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the product says of a file; ``status`` is None where only `index` has looked at it."""

    status: str | None
    reason: str | None
    message: str


@dataclasses.dataclass
class Study:
    """A BIDS tree of one participant and the output folder."""

    bids: Path
    layout: Layout

    def put(self, content: bytes, name: str = f"{NAME}.nii") -> Path:
        path = self.bids / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def image(self, data: np.ndarray, affine: np.ndarray = AFFINE, name: str = NAME) -> Path:
        return self.put(nib.Nifti1Image(data, affine).to_bytes(), f"{name}.nii")

    def indexed(self, **overrides) -> list[Scan]:
        return index.run(self.bids, self.layout, config.load(overrides))

    def preprocessed(self) -> Verdict:
        (scan,) = self.indexed()
        preprocess.run(scan, self.layout, config.load()["preprocess"])
        return self.recorded("preprocess", scan)

    def recorded(self, stage: str, scan: Scan) -> Verdict:
        outcome = Outcome.read(self.layout.record(stage, scan.scan_id))
        assert outcome.message is not None
        return Verdict(outcome.status, outcome.reason, outcome.message)

    def rejected(self, name: str) -> Verdict:
        table = REJECTED.read(self.layout.rejected).set_index("path")
        return Verdict(None, table.loc[name, "reason"], table.loc[name, "message"])


def head(seed: int = 0) -> np.ndarray:
    """A ball in noisy air on the grid of ``SHAPE``, darker from its middle to its edge."""
    points = (np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2).T * np.reshape(ZOOMS, (3, 1, 1, 1))
    tissue = np.clip(400 - 5 * np.linalg.norm(points, axis=0), 0, None)
    return (tissue + np.abs(np.random.default_rng(seed).normal(0, 5, SHAPE))).astype(np.float32)


def t1w() -> tuple[np.ndarray, np.ndarray]:
    """The template's grey matter, white matter and fluid with the contrast of a T1w, in noisy air,
    at 2 mm."""
    tissues, affine = template.tissues(2.0)
    noise = np.abs(np.random.default_rng(0).normal(0, 0.02, tissues.shape[:3]))
    return (tissues @ np.array([0.6, 1.0, 0.2]) + noise).astype(np.float32), affine


@functools.cache
def deepbet(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """The real network's mask; two rows look at one array with two voxel sizes."""
    return MASK_OF(np.frombuffer(content, np.float32).reshape(shape).copy(), 1)


MASK_OF = brain.brain_mask


# --- one function a row: each makes a tree, runs stages and returns the product's verdict ---


def unreadable(study: Study) -> Verdict:
    study.put(b"this is no NIfTI file, but it has enough letters" * 20)
    return study.preprocessed()


def not_present(study: Study) -> Verdict:
    link = study.bids / f"{NAME}.nii.gz"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../.git/annex/objects/Xx/Yy/MD5E-s7--0cc1/MD5E-s7--0cc1")
    return study.preprocessed()


def empty_file(study: Study) -> Verdict:
    study.put(b"")
    return study.preprocessed()


def truncated(study: Study) -> Verdict:
    whole = gzip.compress(nib.Nifti1Image(head(), AFFINE).to_bytes())
    study.put(whole[: len(whole) // 2], f"{NAME}.nii.gz")
    return study.preprocessed()


def not_finite(study: Study) -> Verdict:
    data = head()
    data[30, 30, 15] = np.nan
    study.image(data)
    return study.preprocessed()


def not_3d(study: Study) -> Verdict:
    study.image(np.stack([head(), head(1)], axis=-1))
    return study.preprocessed()


def constant(study: Study) -> Verdict:
    study.image(np.full(SHAPE, 7, np.int16))
    return study.preprocessed()


def is_phase(study: Study) -> Verdict:
    # -pi to pi, as alike to both sides as phase in air is.
    study.image(np.random.default_rng(0).uniform(-np.pi, np.pi, SHAPE).astype(np.float32))
    return study.preprocessed()


def voxel_size(study: Study) -> Verdict:
    study.image(head(), np.diag([2.5, 2.5, 8.0, 1.0]))
    return study.preprocessed()


def coverage(study: Study) -> Verdict:
    # 14 slices of 4 mm: 56 mm from the lowest to the highest.
    study.image(head()[..., 8:22])
    return study.preprocessed()


def not_brain(study: Study) -> Verdict:
    # A few bright voxels all over the field of view, most of them weak: no contrast of two tissues.
    data = np.zeros(SHAPE, np.float32)
    few = data[::8, ::8, ::8]
    few[:] = np.random.default_rng(0).exponential(100, few.shape)
    study.image(data)
    return study.preprocessed()


def polarity(study: Study) -> Verdict:
    study.image(*t1w())
    return study.preprocessed()


def brain_mask(study: Study) -> Verdict:
    # A brain of 0.65^3 of the template's 1.95 l.
    data, affine = t1w()
    study.image(data, affine @ np.diag([0.65, 0.65, 0.65, 1.0]))
    return study.preprocessed()


def orientation(study: Study) -> Verdict:
    # A brain whose axes are in another order than its header says. What preprocess would leave is
    # written by hand: the network would cost half a minute.
    study.image(head())
    (scan,) = study.indexed()
    data, affine = template.brain(2.0)
    save_preprocessed(study, scan, data.transpose(1, 2, 0), affine)
    register.run(scan, study.layout, config.load()["register"] | AFFINE_ONLY)
    return study.recorded("register", scan)


def slices(study: Study) -> Verdict:
    data, affine = t1w()
    thick = np.where(data > 0.1, 1.5 - data, data)[:, :, ::2]
    order = list(range(thick.shape[2]))
    order[25], order[26] = order[26], order[25]
    study.image(thick[:, :, order], affine @ np.diag([1.0, 1.0, 2.0, 1.0]))
    return study.preprocessed()


def registration(study: Study) -> Verdict:
    # No scan fits as well as is asked for here.
    study.image(head())
    (scan,) = study.indexed()
    data, affine = template.brain(2.0)
    save_preprocessed(study, scan, data, affine)
    settings = config.load()["register"] | AFFINE_ONLY | {"min_correlation": 1.0}
    register.run(scan, study.layout, settings)
    return study.recorded("register", scan)


def save_preprocessed(study: Study, scan: Scan, data: np.ndarray, affine: np.ndarray) -> None:
    mask = data > 0
    data = np.where(mask, data / np.median(data[mask]), 0)
    images.save_volume(study.layout.preproc(scan), data, affine, np.float32)
    images.save_volume(study.layout.brain_mask(scan), mask, affine, np.uint8)
    Outcome("preprocess", scan.scan_id, "ok").write(study.layout.record("preprocess", scan.scan_id))


def score(study: Study) -> Verdict:
    # A device that computes NaN: half precision that overflows, memory at fault.
    study.image(head())
    (scan,) = study.indexed()
    data, affine = template.brain(4.0)
    save_preprocessed(study, scan, data, affine)
    models = tiny_models.write(study.bids.parent / "models", kinds=("detector",))
    settings = config.of_stage(config.load(), "detect") | {
        "model": str(models / "detector"),
        "device": "cpu",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            candidates, "probability_map", lambda _, v, *__: np.full(v.image.shape, np.nan)
        )
        detect.run([scan], study.layout, settings, 0)
    return study.recorded("detect", scan)


def no_scan(study: Study) -> Verdict:
    study.image(head())
    study.image(head(), name="sub-02/anat/sub-02_T1w")
    study.indexed()
    return study.rejected("sub-02")


def beside_a_scan(study: Study, name: str, sidecar: str | None = None) -> Verdict:
    """What `index` says of the image ``name`` of a participant who has a scan too."""
    study.image(head())
    study.image(head(), name=name)
    if sidecar is not None:
        study.put(sidecar.encode(), f"{name}.json")
    study.indexed()
    return study.rejected(f"{name}.nii")


def wrong_suffix(study: Study) -> Verdict:
    return beside_a_scan(study, "sub-01/swi/sub-01_SWIp")


def other_kind(study: Study) -> Verdict:
    return beside_a_scan(study, "sub-01/anat/sub-01_FLAIR")


def projection(study: Study) -> Verdict:
    return beside_a_scan(study, "sub-01/swi/sub-01_minIP")


def single_coil(study: Study) -> Verdict:
    return beside_a_scan(study, "sub-01/swi/sub-01_coil-12_GRE")


def bad_name(study: Study) -> Verdict:
    return beside_a_scan(study, "sub-01/anat/T2starw")


def wrong_folder(study: Study) -> Verdict:
    return beside_a_scan(study, "sub-01/anat/sub-02_T2starw")


def neck(study: Study) -> Verdict:
    sidecar = '{"BodyPartExamined": "CSPINE"}'
    return beside_a_scan(study, "sub-01/anat/sub-01_T2star", sidecar)


def wrong_format(study: Study) -> Verdict:
    study.image(head())
    study.put(b"DICOM", "sub-02/dicom/IM0001.dcm")
    study.indexed()
    return study.rejected("sub-02/dicom")


def no_access(study: Study) -> Verdict:
    # The tests may run as root, who may read everything. Reading the start of a process's memory
    # gives the error of a broken disk.
    study.image(head())
    link = study.bids / "sub-01/anat/sub-01_run-2_T2starw.nii"
    link.symlink_to("/proc/self/mem")
    study.indexed()
    return study.rejected("sub-01/anat/sub-01_run-2_T2starw.nii")


def rec_not_chosen(study: Study) -> Verdict:
    return beside_a_scan(study, "sub-01/anat/sub-01_rec-norm_T2starw")


def part_phase(study: Study) -> Verdict:
    study.image(head(), name="sub-01/anat/sub-01_part-mag_T2starw")
    study.image(head(), name="sub-01/anat/sub-01_part-phase_T2starw")
    study.indexed()
    return study.rejected("sub-01/anat/sub-01_part-phase_T2starw.nii")


def echo_not_chosen(study: Study) -> Verdict:
    for echo, seconds in ((1, 0.005), (2, 0.022)):
        name = f"sub-01/anat/sub-01_echo-{echo}_MEGRE"
        study.image(head(), name=name)
        study.put(f'{{"EchoTime": {seconds}}}'.encode(), f"{name}.json")
    study.indexed()
    return study.rejected("sub-01/anat/sub-01_echo-1_MEGRE.nii")


def filtered(study: Study) -> Verdict:
    for session in (1, 2):
        study.image(head(), name=f"sub-01/ses-{session}/anat/sub-01_ses-{session}_T2starw")
    study.indexed(session_label=["2"])
    return study.rejected("sub-01/ses-1/anat/sub-01_ses-1_T2starw.nii")


def duplicate(study: Study) -> Verdict:
    study.image(head())
    study.put(gzip.compress(b"the same scan, compressed"), f"{NAME}.nii.gz")
    (scan,) = study.indexed()
    other = {f"{NAME}.nii", f"{NAME}.nii.gz"} - {scan.path.relative_to(study.bids).as_posix()}
    return study.rejected(other.pop())


def upstream(study: Study) -> Verdict:
    study.put(b"")
    (scan,) = study.indexed()
    preprocess.run(scan, study.layout, config.load()["preprocess"])
    register.run(scan, study.layout, config.load()["register"])
    return study.recorded("register", scan)


def upstream_of_detect(study: Study) -> Verdict:
    study.put(b"")
    (scan,) = study.indexed()
    preprocess.run(scan, study.layout, config.load()["preprocess"])
    detect.run([scan], study.layout, config.of_stage(config.load(), "detect"), 0)
    return study.recorded("detect", scan)


def not_run(study: Study) -> Verdict:
    study.image(head())
    study.indexed()
    aggregate.run(study.layout, study.bids, config.load())
    row = SCANS.read(study.layout.table("scans")).iloc[0]
    return Verdict(row["status"], row["reason"], row["message"])


def reader(study: Study) -> Verdict:
    """A scan that was processed to the end, and that a reader then held for unusable."""
    study.image(head())
    (scan,) = study.indexed(buckets=1)
    for stage in ("preprocess", "register", "detect", "verify"):
        record = study.layout.record(stage, scan.scan_id)
        Outcome(stage, scan.scan_id, "ok", measures={"n_kept": 0}).write(record)
    settings = config.load({"buckets": 1})
    CANDIDATES.write(study.layout.bucket("verify", 0), [])
    opened = store.Store(study.layout, "AB")
    opened.decide(
        {"scan_id": scan.scan_id, "mode": "scan", "decision": "scan", "blinded": False}
        | {"ordering": "useful", "content_key": scan.content_key}
        | {"quality": "unusable", "quality_reason": "motion"}
    )
    opened.close()
    store.export(study.layout)
    aggregate.run(study.layout, study.bids, settings)
    row = SCANS.read(study.layout.table("scans")).iloc[0]
    return Verdict(row["status"], row["reason"], row["message"])


def crashed(study: Study) -> Verdict:
    study.image(head())
    (scan,) = study.indexed()
    # Settings that no configuration lets through stand for a bug.
    preprocess.run(scan, study.layout, config.load()["preprocess"] | {"max_voxel_mm": None})
    return study.recorded("preprocess", scan)


def damaged(study: Study) -> Verdict:
    study.image(head())
    (scan,) = study.indexed()
    save_preprocessed(study, scan, head(), AFFINE)
    study.layout.preproc(scan).write_bytes(b"")
    register.run(scan, study.layout, config.load()["register"] | AFFINE_ONLY)
    return study.recorded("register", scan)


@dataclasses.dataclass(frozen=True)
class Row:
    """A reason, the status that goes with it, and a word of the message besides what to do."""

    provoke: Callable[[Study], Verdict]
    status: str | None
    says: str
    reason: str = ""
    marks: tuple = ()

    @property
    def code(self) -> str:
        return self.reason or self.provoke.__name__


SLOW = (pytest.mark.slow,)
ROWS = (
    Row(unreadable, "failed", "does not begin with a NIfTI header"),
    Row(not_present, "failed", "link to content"),
    Row(empty_file, "failed", "0 bytes"),
    Row(truncated, "failed", "end early"),
    Row(not_finite, "failed", f"1 of {np.prod(SHAPE)} voxels"),
    Row(not_3d, "failed", "64 x 64 x 30 x 2"),
    Row(constant, "failed", "All voxels are 7"),
    Row(is_phase, "failed", "both signs"),
    Row(voxel_size, "excluded", "2.50 x 2.50 x 8.00 mm"),
    Row(coverage, "excluded", "160 x 160 x 56 mm"),
    Row(not_brain, "failed", "no contrast"),
    Row(polarity, "excluded", "as in a T1w", marks=SLOW),
    Row(brain_mask, "failed", "ml, outside 700 to 2200", marks=SLOW),
    Row(orientation, "excluded", "where it says anterior", marks=SLOW),
    Row(slices, "excluded", "not in anatomical order", marks=SLOW),
    Row(registration, "failed", "below 1.0", marks=SLOW),
    Row(score, "failed", "score is not a number"),
    Row(no_scan, None, "['T1w']"),
    Row(no_access, None, "Input/output error"),
    Row(bad_name, None, "begin with sub-01_"),
    Row(wrong_format, None, "1 DICOM file(s)"),
    Row(wrong_folder, None, "The name says sub-02"),
    Row(neck, None, "BodyPartExamined is SPINE", reason="not_brain"),
    Row(other_kind, None, "FLAIR"),
    Row(wrong_suffix, None, "index.suffixes.SWIp=GRE"),
    Row(projection, None, "projection"),
    Row(single_coil, None, "coil-12"),
    Row(part_phase, None, "part-phase"),
    Row(echo_not_chosen, None, "Echo 1"),
    Row(rec_not_chosen, None, "sub-01_T2starw.nii is used"),
    Row(filtered, None, "session"),
    Row(duplicate, None, f"Same name as {NAME}"),
    Row(upstream, "failed", "failed at preprocess (empty_file)"),
    Row(upstream_of_detect, "failed", "preprocess", reason="upstream"),
    Row(crashed, "failed", "TypeError: "),
    Row(damaged, "failed", "desc-preproc_T2starw.nii.gz cannot be read (ValueError: it is empty"),
    Row(not_run, "failed", "preprocess: no record"),
    Row(reader, "excluded", "AB (motion) could not judge the scan."),
)


def test_every_reason_has_a_row():
    assert {row.code for row in ROWS} == set(REASONS)


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=row.marks, id=row.provoke.__name__) for row in ROWS]
)
def test_reason(row, tmp_path, monkeypatch):
    monkeypatch.setattr(brain, "brain_mask", lambda v, threads=1: deepbet(v.tobytes(), v.shape))
    bids = tmp_path / "bids"
    bids.mkdir()
    (bids / "dataset_description.json").write_text('{"Name": "one", "BIDSVersion": "1.10.0"}')
    verdict = row.provoke(Study(bids, Layout(tmp_path / "out")))
    assert (verdict.status, verdict.reason) == (row.status, row.code)
    assert row.says in verdict.message
    assert f"To do: {REASONS[row.code]}." in verdict.message


def test_a_code_that_is_unknown_is_refused():
    with pytest.raises(KeyError, match="sleepy"):
        ScanError("sleepy", "It did not wake up.")
