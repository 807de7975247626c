"""The stages detect and verify on scans that earlier stages left behind, sound or damaged."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import prepared
import pytest
import tiny_models
import torch

from cmburden.core import config, remake
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.tables import CANDIDATES
from cmburden.detect import candidates, phased, vein_phase
from cmburden.detect import stage as detect
from cmburden.images import volume as images
from cmburden.models.contract import CLASSES
from cmburden.verify import network
from cmburden.verify import stage as verify

pytestmark = pytest.mark.slow


@dataclasses.dataclass(frozen=True)
class Study:
    layout: Layout
    scans: list[Scan]
    settings: dict

    def run(self, *stages: str) -> None:
        for stage in stages or ("detect", "verify"):
            run = {"detect": detect.run, "verify": verify.run}[stage]
            run(self.scans, self.layout, self.settings[stage], 0)

    def outcome(self, stage: str, number: int = 0) -> Outcome:
        return Outcome.read(self.layout.record(stage, self.scans[number].scan_id))

    def cached(self, stage: str, ending: str, number: int = 0) -> Path:
        """The file of the scan in the cache."""
        if stage == "detect":
            key = self.outcome("detect", number).measures["cache_key"]
            return self.layout.cached("detect", key, ending)
        (path,) = self.layout.cached("verify", "x").parents[1].glob("*/*.npz")
        return path

    def lesions(self) -> list:
        return CANDIDATES.read(self.layout.bucket("verify", 0)).values.tolist()


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A folder in which one small scan went all the way."""
    folder = tmp_path_factory.mktemp("study")
    study = _study(folder, write=True)
    study.run()
    return folder


def _study(folder: Path, *, write: bool = False) -> Study:
    layout = Layout(folder / "out")
    if write:
        prepared.write(folder / "bids", layout, 1)
        tiny_models.write(folder / "models")
    settings = config.load({})
    models = {stage: str(folder / "models" / kind) for stage, kind in tiny_models.STAGES.items()}
    of_stage = {s: config.of_stage(settings, s) for s in models}
    settings |= {s: of_stage[s] | {"model": models[s], "device": "cpu"} for s in models}
    settings["detect"] |= {"max_candidates": 6}
    return Study(layout, read_scans(layout.manifest, folder / "bids"), settings)


@pytest.fixture
def study(done, tmp_path) -> Study:
    """A copy of the finished folder."""
    shutil.copytree(done, tmp_path / "study")
    return _study(tmp_path / "study")


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


SLOW = (pytest.mark.slow,)
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "flipped": flipped,
    "foreign": lambda content: b"PK\x03\x04 nothing of ours",
}


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        pytest.param(place, damage, marks=() if damage == "flipped" else SLOW)
        for place in ("detect npz", "detect parquet", "verify npz")
        for damage in DAMAGE
    ],
)
def test_a_torn_file_of_the_cache_is_made_again(study, place, damage, caplog):
    lesions = study.lesions()
    assert lesions
    path = study.cached(*place.split())
    sound = path.read_bytes()
    path.write_bytes(DAMAGE[damage](sound))
    study.run()
    assert path.read_bytes() == sound
    assert study.lesions() == lesions
    assert "made again" in caplog.text and path.name in caplog.text


def test_whole_files_of_the_cache_are_used(study, caplog):
    paths = [
        study.cached(*p) for p in (("detect", "npz"), ("detect", "parquet"), ("verify", "npz"))
    ]
    before = [path.stat().st_ino for path in paths]
    study.run()
    assert [path.stat().st_ino for path in paths] == before
    assert "made again" not in caplog.text


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("preproc", "half"),
        ("preproc", "flipped"),
        ("brain_mask", "gone"),
        ("regions", "foreign"),
        ("affine.mat", "empty"),
        ("affine.mat", "half"),
        ("affine.mat", "gone"),
    ],
)
def test_a_damaged_file_of_an_earlier_stage_is_said_and_made_anew(study, name, damage):
    (scan,) = study.scans
    stage = "detect" if name in ("preproc", "brain_mask") else "verify"
    layout = study.layout
    path = layout.transform(scan, name) if "." in name else getattr(layout, name)(scan)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    study.run()
    outcome = study.outcome(stage)
    assert (outcome.status, outcome.reason) == ("failed", "damaged")
    assert f"{path.name} cannot be read" in outcome.message
    assert "To do: run again" in outcome.message
    assert str(layout.root) not in outcome.message
    assert len(CANDIDATES.read(layout.bucket("verify", 0))) == 0
    assert remake.marked(layout) == [scan.scan_id]


def test_views_that_are_gone_when_verify_reads_them_are_made_anew(study):
    study.cached("detect", "npz").unlink()
    study.run("verify")
    assert study.outcome("verify").reason == "damaged"
    assert remake.marked(study.layout) == [study.scans[0].scan_id]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_volume_that_is_no_number_is_not_a_scan_without_microbleeds(study, value):
    (scan,) = study.scans
    layout = study.layout
    volume, affine = images.read_derivative(layout.preproc(scan))
    images.save_volume(layout.preproc(scan), np.full_like(volume, value), affine, np.float32)
    study.run()
    assert (study.outcome("detect").status, study.outcome("detect").reason) == (
        "failed",
        "not_finite",
    )
    assert study.outcome("verify").reason == "upstream"


@pytest.mark.parametrize("stage", ["detect", "verify"])
def test_a_network_that_gives_no_number_is_not_a_scan_without_microbleeds(
    study, stage, monkeypatch
):
    """Weights that are sound may do so in half precision, or on a device that is ill."""

    def no_number(real):
        return lambda *given, **named: np.full_like(real(*given, **named), np.nan)

    module, name = {
        "detect": (candidates, "probability_map"),
        "verify": (network, "class_scores"),
    }[stage]
    monkeypatch.setattr(module, name, no_number(getattr(module, name)))
    shutil.rmtree(study.layout.cached(stage, "x").parents[1])
    study.run(*(["detect"] if stage == "detect" else []), "verify")
    outcome = study.outcome(stage)
    assert (outcome.status, outcome.reason) == ("failed", "score")
    assert len(CANDIDATES.read(study.layout.bucket("verify", 0))) == 0
    # Nothing of it is in the cache, for a network that is well.
    assert not list(study.layout.cached(stage, "x").parents[1].glob("*/*.npz"))


def test_a_view_for_which_yolo_gives_no_number_has_no_score():
    """A box at no place is not about the middle: without a check the view would score 0."""
    output = torch.ones((2, 4 + len(CLASSES), 5))
    output[1, :, 3] = torch.nan
    scores = network._centred(output)
    assert scores[0].isfinite().all() and scores[1].isnan().all()


def test_a_candidate_without_probability_fails_the_scan(study, monkeypatch):
    monkeypatch.setattr(verify, "design", lambda rows, contrast: np.full((len(rows), 23), np.nan))
    study.run("verify")
    outcome = study.outcome("verify")
    assert (outcome.status, outcome.reason) == ("failed", "score")
    assert "The probability of 6 candidate(s)" in outcome.message


def test_a_phase_image_is_no_fault_of_the_scan_and_its_measure_is_cached(study, monkeypatch):
    """A phase that cannot be used is a remark, one that can a column; both are in the cache."""
    lesions = study.lesions()
    path = study.layout.root.parent / "phase.nii.gz"
    path.write_bytes(b"no image")
    study.scans[0] = dataclasses.replace(study.scans[0], phase_path=path, phase_key="torn")
    study.run()
    torn = study.outcome("detect")
    assert torn.ok and torn.message.startswith("Its phase image was not used: ")
    assert study.lesions() == lesions
    volume, affine = images.read_derivative(study.layout.preproc(study.scans[0]))
    phase = np.random.default_rng(0).uniform(-np.pi, np.pi, volume.shape)
    images.save_volume(path, phase, affine, np.float32)
    study.scans[0] = dataclasses.replace(study.scans[0], phase_key="sound")
    monkeypatch.setattr(
        phased, "sign_of", lambda *arguments, **options: vein_phase.Sign(-1, 0.9999)
    )
    study.run("detect")
    before = study.outcome("detect")
    assert before.message is None
    assert before.measures["phase_sign"] == "negative"
    assert before.measures["phase_certainty"] == 0.9999
    rows = CANDIDATES.read(study.layout.bucket("detect", 0))
    assert rows["dipole_correlation"].notna().all() and rows["dipole_correlation"].abs().max() < 0.8
    monkeypatch.setattr(phased, "read_phase", None)  # not asked again
    study.run("detect")
    again = dataclasses.replace(study.outcome("detect"), seconds=before.seconds)
    assert again == before
