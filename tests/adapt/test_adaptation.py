"""Adaptation: from a run without labels to models, killed and started again; what is refused."""

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import prepared
import pytest
import tiny_models
import torch

from cmburden.adapt import check, command, material, network, parts, release, report
from cmburden.adapt import plan as planning
from cmburden.adapt.places import Places
from cmburden.cohort import stage as aggregate
from cmburden.core import config
from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome
from cmburden.core.tables import CANDIDATES, REVIEWS, SCANS
from cmburden.detect import stage as detect
from cmburden.insert import places as insertion_places
from cmburden.insert.copies import LeftOut
from cmburden.models import people
from cmburden.models.adapted import warning
from cmburden.models.people import Person
from cmburden.models.weights import load_tensors
from cmburden.train import detector, mine, slabs, verifier
from cmburden.train.dataset import About, make_slab
from cmburden.train.slabs import Spheres
from cmburden.train.tuning import scored
from cmburden.verify import stage as verify

pytestmark = pytest.mark.long

SHAPE, ZOOMS = (40, 40, 10), (1.0, 1.0, 3.0)
PEOPLE = 10
#: Few candidates, so that little is computed.
SEARCH = {"min_probability": 0.05, "max_candidates": 4}


def small_volume(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    affine = np.diag([*ZOOMS, 1.0])
    # In the white matter of the template, where lesions are drawn.
    affine[:3, 3] = -np.array(SHAPE) * ZOOMS / 2 + [28, -20, 28]
    points = nib.affines.apply_affine(affine, np.moveaxis(np.indices(SHAPE), 0, -1))
    middle = points.reshape(-1, 3).mean(0)
    mask = np.linalg.norm((points - middle) / (17.0, 17.0, 14.0), axis=-1) < 1
    volume = np.where(mask, 1.0, 0.05) + np.random.default_rng(number).normal(0, 0.03, SHAPE)
    for centre in middle + np.random.default_rng(number).uniform(-9, 9, (3, 3)):
        volume[np.linalg.norm(points - centre, axis=-1) < 2.5] = 0.2
    return volume.astype(np.float32), mask.astype(np.uint8), affine


def quick_yolo(mined: Path, out: Path, plan: verifier.YoloPlan) -> Path:
    """The weights to start from, moved by what was mined."""
    tensors = load_tensors(plan.start)
    seen = sum(int(slabs.load(path, slabs.Mined).views.sum()) for path in slabs.mined_files(mined))
    name = next(name for name, value in tensors.items() if value.is_floating_point())
    tensors[name] = tensors[name] * (1 + (seen % 97 + plan.seed + plan.epochs) / 1e4)
    return verifier._write_weights(tensors, out)


def quick_scores(networks, views, device, precision="single") -> np.ndarray:
    """Scores (n, classes) by the views' brightness and the networks' weights."""
    weight = sum(float(next(network.parameters()).sum()) for network in networks)
    bright = views.reshape(len(views), -1).mean(1) / 255 if len(views) else np.zeros(0)
    score = 1 / (1 + np.exp(-6 * (bright - 0.5) - weight / 100))
    return np.stack([score, *[(1 - score) / 4] * 4], axis=1).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def small():
    """Small volumes, no pictures, lesions near each other, and a YOLO that takes no time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "_volume", small_volume)
        patch.setattr(verifier, "train", quick_yolo)
        patch.setattr("cmburden.verify.network.class_scores", quick_scores)
        patch.setattr(detector, "_picture", lambda *arguments: None)
        patch.setattr("cmburden.verify.stage.ventricles.find", lambda *arguments: None)
        for name in ("lesion_montage", "planes.draw", "viewer.write"):
            patch.setattr(f"cmburden.verify.stage.{name}", lambda *arguments: None)
        patch.setattr(parts, "LEAST_PEOPLE", PEOPLE)
        for name in ("REJECTED_MM", "LESION_MM", "INSERTED_MM"):
            patch.setattr(insertion_places, name, 2.0)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished run over scans of ten people with tiny models, and simulated slabs."""
    folder = tmp_path_factory.mktemp("study")
    layout = Layout(folder / "derivatives")
    tiny_models.write(folder / "models")
    settings = config.load(
        {
            "bids_dir": str(folder / "bids"),
            "output_dir": str(layout.root),
            "buckets": 1,
            "detect": SEARCH | {"model": str(folder / "models/detector"), "device": "cpu"},
            "verify": {"model": str(folder / "models/verifier"), "device": "cpu"},
        }
    )
    scans = sorted(prepared.write(folder / "bids", layout, PEOPLE), key=lambda scan: scan.scan_id)
    sizes = {"voxel_x_mm": ZOOMS[0], "voxel_y_mm": ZOOMS[1], "slice_mm": ZOOMS[2]}
    for path in (layout.record("preprocess", scan.scan_id) for scan in scans):
        dataclasses.replace(Outcome.read(path), measures=sizes).write(path)
    config.write(settings, layout.config)
    manifest = pd.read_parquet(layout.manifest).assign(bucket=0)
    manifest.to_parquet(layout.manifest)
    detect.run(scans, layout, config.of_stage(settings, "detect"), 0)
    verify.run(scans, layout, config.of_stage(settings, "verify"), 0)
    aggregate.run(layout, folder / "bids", settings)
    for number in range(6):
        volume, mask, affine = small_volume(100 + number)
        at = affine[:3, 3] + np.array(SHAPE) * ZOOMS / 2
        slab = make_slab(
            volume,
            mask > 0,
            affine,
            Spheres(at[None], np.array([1.5])),
            ["microbleed"],
            About("SIM", "GRE", f"map-{number}"),
        )
        slabs.save(slabs.slab_path(folder / "simulated", number), slab)
    return folder


def adapt(study, models, *words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given = [study / "derivatives", models, "--steps", 2, "--epochs", 1, "--draws", 1]
    given += ["--copies", 2, "--slabs", study / "simulated"]
    # What dies in these tests dies in this process.
    given += ["--workers", 0, *words]
    return command.main(parser.parse_args(list(map(str, given))))


@pytest.fixture(scope="module")
def adapted(study):
    """The study with an adaptation in ``adapted``, and its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        # Untrained networks get better by chance alone.
        patch.setattr(check, "_against", lambda rows, forgetting: [])
        assert adapt(study, study / "adapted") == 0
    return study


def contents(models: Path) -> dict[str, bytes]:
    """All that a user has of an adaptation."""
    return {
        path.relative_to(models).as_posix(): path.read_bytes()
        for path in sorted(models.rglob("*"))
        if path.is_file() and "work" not in path.relative_to(models).parts
    }


def test_an_adaptation_ends_with_models_and_the_table(adapted):
    models = adapted / "adapted"
    result = json.loads((models / "adaptation.json").read_text())
    assert result["Released"] and result["Participants"] == {
        "adapt": 5,
        "calibrate": 2,
        "check": 3,
    }
    drawn = [row for row in result["Rows"] if row["what"] == check.DRAWN]
    # Nothing was learnt from the renderers of the check.
    assert {row["group"] for row in drawn} == {"physics"}
    lines = (models / "adaptation.tsv").read_text().splitlines()
    assert len(lines) == 1 + len(result["Rows"])
    assert "must not be passed on without clearance" in (models / "adaptation.md").read_text()
    contract = json.loads((models / "verifier/model.json").read_text())
    assert contract["id"].startswith("cmburden-verifier-0-adapted-")
    assert contract["adapted_to"]["contrast"] == ["GRE"]
    assert contract["adapted_to"]["participants"] == 7
    assert contract["domain"]["slice_mm"] == [3.0, 3.0]
    assert "sub-0" not in (models / "verifier/model.json").read_text()
    for kind in release.KINDS:
        start = (adapted / "models" / kind / f"{kind}.pt").read_bytes()
        assert (models / kind / f"{kind}.pt").read_bytes() != start
    # The pipeline takes them, and who was learnt from is known.
    detect.Detector(models / "detector", "cpu")
    verify.Verifier(models / "verifier", "cpu")
    plan = planning.read(Places(models))
    rows = [Person(**one) for one in plan.people]
    assert len(rows) == 7 and people.seen(contract, rows)[0] == rows
    unseen = [label for label, part in plan.part.items() if part == "check"]
    assert not {one.participant_id for one in rows} & set(unseen)


def test_what_nobody_judged_is_left_out_of_the_slabs(adapted):
    places = Places(adapted / "adapted")
    study = planning.study_of(planning.read(places))
    subject = study.of("adapt")[0]
    slab = slabs.load(slabs.slab_path(places.slabs, f"{subject.scan.scan_id}-0"), slabs.PatchSource)
    detections = subject.candidates[subject.candidates["label"].isin(["definite", "possible"])]
    assert len(detections) and len(slab.faint.radius) >= len(detections)
    assert len(slab.microbleeds.radius) and not len(slab.mimics.radius)


def test_the_scans_of_the_run_stay_as_they_are(adapted):
    rows = CANDIDATES.read(Layout(adapted / "derivatives").candidates)
    assert rows["scan_id"].nunique() == PEOPLE
    files = [path for path in (adapted / "derivatives").rglob("*") if "copy" in path.name]
    assert files == []


def test_killed_and_started_again_it_ends_the_same(adapted, monkeypatch):
    """Killed while it draws, in the detector, while it mines, in YOLO, scores and calibrates."""
    models, again = adapted / "adapted", adapted / "again"
    expected = contents(models)
    monkeypatch.setattr(check, "_against", lambda rows, forgetting: [])
    monkeypatch.setattr(detector, "CHECKPOINT_STEPS", 1)

    def dies_after(module, name, calls):
        real, left = getattr(module, name), [calls]

        def dying(*arguments, **options):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(*arguments, **options)

        return module, name, dying

    for module, name, calls in (
        (material, "slab_of", 3),
        (detector, "learn", 1),
        (mine, "mine_slab", 2),
        (verifier, "_write_weights", 0),
        (scored, "score_anatomy", 4),
        (command.probability, "_thresholds", 0),
        (release.shutil, "copyfile", 1),
        (report, "_write_table", 0),
    ):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(*dies_after(module, name, calls))
            adapt(adapted, again)
        assert not (again / "adaptation.md").exists()
    assert adapt(adapted, again) == 0
    assert contents(again) == expected
    # A finished adaptation trains nothing again.
    monkeypatch.setattr(network, "make", None)
    assert adapt(adapted, again) == 0
    assert contents(again) == expected


def test_the_networks_are_a_job(adapted, monkeypatch, capsys):
    """The command ends with the job at work, and goes on when it has ended."""
    models, asked = adapted / "jobs", []
    shutil.copytree(adapted / "adapted/work", models / "work")
    (models / "work/network/finished.json").unlink()
    monkeypatch.setattr(check, "_against", lambda rows, forgetting: [])
    monkeypatch.setattr(
        command.submission, "run_jobs", lambda runs, resources: asked.append((runs, resources)) or 0
    )
    assert adapt(adapted, models, "--executor", "local", "--cpus", 2) == 0
    assert "give the same command again when it has ended" in capsys.readouterr().out
    (((job,), resources),) = asked
    assert job.arguments == (str(models), "--workers", "0")
    assert resources.executor == "local" and job.threads == 2
    assert job().code == 0
    assert adapt(adapted, models, "--executor", "local") == 0
    assert contents(models) == contents(adapted / "adapted")


def test_a_model_that_is_not_better_is_not_released(adapted, monkeypatch, capsys):
    models = adapted / "worse"
    shutil.copytree(adapted / "adapted/work", models / "work")
    monkeypatch.setattr(check, "_against", lambda rows, forgetting: ["it sees less"])
    assert adapt(adapted, models) == command.NOT_BETTER
    assert "The adapted models are not released: it sees less." in capsys.readouterr().out
    assert not any((models / kind).exists() for kind in release.KINDS)
    assert not json.loads((models / "adaptation.json").read_text())["Released"]


def test_other_scanners_are_warned_of(adapted):
    contract = json.loads((adapted / "adapted/verifier/model.json").read_text())
    manifest = pd.read_parquet(Layout(adapted / "derivatives").manifest)
    assert warning(contract, manifest) is None
    other = manifest.assign(scanner_model="Prisma", echo_time_s=0.04)
    said = warning(contract, other)
    assert said.startswith(f"{PEOPLE} of {PEOPLE} scans are unlike those")
    assert f"scanner Prisma: {PEOPLE}" in said and f"echo time: {PEOPLE}" in said
    assert warning({"id": "shipped"}, other) is None


def review(layout: Layout) -> None:
    """Of each scan the first detection is real, the second is none, the third is disputed."""
    keys = SCANS.read(layout.table("scans")).set_index("scan_id")["content_key"]
    found = CANDIDATES.read(layout.candidates)
    rows = []
    for one in found[found["candidate_id"] < 3].to_dict("records"):
        place = {f"{axis}_mm": one[f"{axis}_mm"] for axis in "xyz"}
        for reader in ("AB", "CD"):
            number = one["candidate_id"]
            real = number == 0 or (number == 2 and reader == "AB")
            rows.append(
                {name: one[name] for name in ("scan_id", "candidate_id", "region", "group")}
                | place
                | {f"shown_{name}": value for name, value in place.items()}
                | {"reader": reader, "mode": "review", "blinded": True, "ordering": "random"}
                | {"decision": "accept" if real else "reject"}
                | {"class": "microbleed" if real else "calcification"}
                | {"content_key": keys[one["scan_id"]]}
            )
    REVIEWS.write(layout.reviews, rows)


def test_what_readers_judged_is_learnt_and_what_they_dispute_is_not(study, tmp_path, capsys):
    layout = Layout(tmp_path / "derivatives")
    shutil.copytree(study / "derivatives", layout.root)
    places, schedule = Places(tmp_path / "models"), planning.Schedule(draws=1)
    plan = planning.begin(places, layout.root, schedule, 100, None)
    review(layout)
    with pytest.raises(CMBurdenError, match="readers have judged since the adaptation began"):
        planning.study_of(plan)
    with pytest.raises(CMBurdenError, match="holds an adaptation with other labels"):
        planning.begin(places, layout.root, schedule, 100, None)
    plan = planning.begin(Places(tmp_path / "others"), layout.root, schedule, 100, None)
    judged = planning.study_of(plan)
    assert judged.verdicts.disputed == len(judged.verdicts.confirmed) == PEOPLE
    said = command._said(plan, judged)
    assert f"confirmed {PEOPLE} microbleeds and rejected {PEOPLE} detections" in said
    assert f"{PEOPLE} places are left out, on which the readers disagree" in said
    subject = judged.of("adapt")[0]
    assert [one.kind for one in subject.known[:3]] == ["microbleed", "calcification", "faint"]
    anatomy = material.anatomy_of(subject, layout)
    slab = material.slab_of(subject, anatomy, anatomy.prepared.volume, [])
    assert (slab.kind == "calcification").sum() == (slab.kind == "microbleed").sum() == 1
    # Every class of the readers is one that YOLO learns.
    assert set(slab.kind) <= set(mine.CLASS_OF_KIND)


# --- bad input ---


def test_another_adaptation_in_the_folder_is_refused(adapted):
    with pytest.raises(CMBurdenError, match="holds an adaptation with other schedule; give"):
        adapt(adapted, adapted / "adapted", "--steps", 3)
    with pytest.raises(CMBurdenError, match="holds models already"):
        adapt(adapted, adapted / "models")
    with pytest.raises(CMBurdenError, match="is the run's folder"):
        adapt(adapted, adapted / "derivatives")


def test_a_cohort_full_of_lesions_is_one_sentence(study, tmp_path, monkeypatch):
    def full(*_):
        raise LeftOut("No room: lesions and candidates lie near every place.")

    monkeypatch.setattr(material, "draw", full)
    with pytest.raises(CMBurdenError, match="5 of 5 scans to adapt to have no room for a lesion"):
        adapt(study, tmp_path / "full")


def test_too_few_slabs_are_one_sentence(study, tmp_path):
    with pytest.raises(CMBurdenError, match="holds 0 slab-"):
        adapt(study, tmp_path / "few", "--slabs", tmp_path)
