"""Tuning: from labels of a run to models, killed and started again; what is refused."""

import argparse
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

from cmburden.cohort import stage as aggregate
from cmburden.core import config, truth_origin
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.paths import Layout
from cmburden.core.tables import CANDIDATES
from cmburden.detect import stage as detect
from cmburden.evaluate import command as evaluate
from cmburden.evaluate import figures
from cmburden.evaluate import measures as evaluate_measures
from cmburden.models import people
from cmburden.models.people import Person
from cmburden.models.weights import load_tensors
from cmburden.train import detector, slabs, verifier
from cmburden.train.tuning import command, folds, network, scored, unseen
from cmburden.train.tuning import plan as planning
from cmburden.train.tuning.places import Places, splits
from cmburden.train.tuning.plan import Schedule
from cmburden.verify import stage as verify
from cmburden.verify.network import untrained

SHAPE, ZOOMS = (40, 40, 10), (1.0, 1.0, 3.0)
PEOPLE = 8
#: Candidates of the run that the truth calls microbleeds, by number; every fourth scan has none.
REAL = (1, 3, 5)
#: Few candidates, so that little is computed.
SEARCH = {"min_probability": 0.05, "max_candidates": 16}


def small_volume(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    affine = np.diag([*ZOOMS, 1.0])
    affine[:3, 3] = -np.array(SHAPE) * ZOOMS / 2
    points = nib.affines.apply_affine(affine, np.moveaxis(np.indices(SHAPE), 0, -1))
    mask = np.linalg.norm(points / (17.0, 17.0, 14.0), axis=-1) < 1
    volume = np.where(mask, 1.0, 0.05) + np.random.default_rng(number).normal(0, 0.03, SHAPE)
    for centre in np.random.default_rng(number).uniform(-9, 9, (3, 3)):
        volume[np.linalg.norm(points - centre, axis=-1) < 2.5] = 0.2
    return volume.astype(np.float32), mask.astype(np.uint8), affine


def quick_yolo(mined: Path, out: Path, plan: verifier.YoloPlan) -> Path:
    """The weights to start from, moved by what was mined."""
    tensors = load_tensors(plan.start)
    seen = sum(int(slabs.load(path, slabs.Mined).views.sum()) for path in slabs.mined_files(mined))
    name = next(name for name, value in tensors.items() if value.is_floating_point())
    tensors[name] = tensors[name] * (1 + (seen % 97 + plan.seed + plan.epochs) / 1e4)
    return verifier._write_weights(tensors, out)


@pytest.fixture(scope="module", autouse=True)
def small():
    """Small volumes without ventricles, few draws, no pictures, and a YOLO that learns in no time.

    YOLO's own training, and that it goes on where it was stopped, is tested in test_train.py.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "_volume", small_volume)
        patch.setattr(verifier, "train", quick_yolo)
        patch.setattr(figures, "draw", lambda result, out: [])
        patch.setattr(detector, "_picture", lambda *arguments: None)
        patch.setattr("cmburden.verify.stage.ventricles.find", lambda *arguments: None)
        for name in ("lesion_montage", "planes.draw", "viewer.write"):
            patch.setattr(f"cmburden.verify.stage.{name}", lambda *arguments: None)
        patch.setattr(evaluate_measures, "DRAWS", 10)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished run over scans of eight people with tiny models, and its truth."""
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
    scans = prepared.write(folder / "bids", layout, PEOPLE)
    scans = sorted(scans, key=lambda scan: scan.scan_id)
    config.write(settings, layout.config)
    manifest = pd.read_parquet(layout.manifest).assign(bucket=0)
    manifest.to_parquet(layout.manifest)
    detect.run(scans, layout, config.of_stage(settings, "detect"), 0)
    verify.run(scans, layout, config.of_stage(settings, "verify"), 0)
    aggregate.run(layout, folder / "bids", settings)
    truth_of(folder)
    return folder


def truth_of(folder: Path, name: str = "truth.tsv", **other) -> Path:
    """A truth that untrained networks find: places of some of the run's own candidates."""
    found = CANDIDATES.read(Layout(folder / "derivatives").candidates)
    rows = []
    for number in range(PEOPLE):
        label = f"sub-{number + 1:02d}"
        row = {"scan_id": f"{label}_T2starw", "cohort": "Here", "participant_id": label}
        own = found[(found["scan_id"] == row["scan_id"]) & found["candidate_id"].isin(REAL)]
        if number % 4 == 3:
            rows.append(row | {"source_id": 0, "kind": "none"})
            continue
        for source, at in enumerate(own.itertuples(), start=1):
            place = {"x_mm": at.x_mm, "y_mm": at.y_mm, "z_mm": at.z_mm, "radius_mm": 1.5}
            rows.append(row | {"source_id": source, "kind": "microbleed"} | place | other)
    path = folder / name
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False, na_rep="n/a")
    truth_origin.state(path, truth_origin.SIMULATED, "Dark balls.")
    return path


def tune(study, models, *words, truth="truth.tsv"):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given = [study / "derivatives", study / truth, models, "--steps", 2, "--epochs", 1]
    # What dies in these tests dies in this process.
    given += ["--workers", 0, *words]
    # The truth is what untrained networks find, not dark spots.
    given.append("--trust-coordinates")
    return command.main(parser.parse_args(list(map(str, given))))


@pytest.fixture(scope="module")
def tuned(study):
    """The study with tuned models in ``tuned``."""
    assert tune(study, study / "tuned") == 0
    return study


# --- who is in which fold ---


def person(number, fold=None, key=None):
    return Person(f"sub-{number:02d}", key or f"p{number}", "HERE", "HERE", fold)


def test_each_fold_has_its_people_with_microbleeds():
    everybody = [person(number) for number in range(12)]
    positive = {f"sub-{number:02d}" for number in range(7)}
    fold = folds.deal(everybody, positive, 3)
    assert sorted(np.bincount(list(fold.values()))) == [4, 4, 4]
    assert sorted(np.bincount([fold[label] for label in positive])) == [2, 2, 3]
    # The order of the rows decides nothing.
    assert folds.deal(everybody[::-1], positive, 3) == fold
    # One person under two labels is in one fold.
    twice = [*everybody, person(40, key="p0")]
    fold = folds.deal(twice, positive, 3)
    assert fold["sub-40"] == fold["sub-00"]


def test_folds_of_the_table_are_taken_where_they_serve():
    positive = {f"sub-{number:02d}" for number in range(6)}
    named = [person(number, fold=str(number % 3)) for number in range(12)]
    fold = folds.deal(named, positive, 3)
    assert [fold[f"sub-{number:02d}"] for number in range(12)] == [0, 1, 2] * 4
    unfit = [person(number, fold=str(number // 4)) for number in range(12)]
    assert max(np.bincount([folds.deal(unfit, positive, 3)[label] for label in positive])) == 2
    torn = [*named, person(40, fold="1", key="p0")]
    with pytest.raises(CMBurdenError, match="puts this person into two folds"):
        folds.deal(torn, positive, 3)


@pytest.mark.parametrize(
    ("number", "bleeding", "count", "said"),
    [
        (12, 0, 3, "has a microbleed in the truth table: nothing to tune on"),
        (12, 5, 3, "12 people, 5 of them with microbleeds, are too few for 3 folds: it takes 6"),
        (7, 6, 3, "5 people outside of each fold"),
        (12, 9, 2, "--folds 2: give at least 3"),
    ],
)
def test_too_few_people_are_one_sentence(number, bleeding, count, said):
    everybody = [person(one) for one in range(number)]
    with pytest.raises(CMBurdenError, match=said):
        folds.deal(everybody, {f"sub-{one:02d}" for one in range(bleeding)}, count)


def test_nobody_judges_or_is_calibrated_on_people_that_were_seen():
    """For each fold: its networks leave it out; so do those that its probability is fitted with."""
    for count in (3, 5):
        left_out = splits(count)
        for fold in range(count):
            assert left_out[f"without-{fold}"] == (fold,)
            for other in set(range(count)) - {fold}:
                pair = tuple(sorted((fold, other)))
                assert left_out[f"without-{pair[0]}-{pair[1]}"] == pair


# --- a whole tuning ---


@pytest.mark.long
def test_a_tuning_ends_with_models_and_the_table(tuned):
    models = tuned / "tuned"
    result = json.loads((models / "tuning.json").read_text())
    page = (models / "tuning.md").read_text()
    assert "must not be passed on without clearance" in page and "simulated scans" in page
    assert set(result["before"]) == set(result["after"])
    assert sum(fold["people"] for fold in result["folds"]) == PEOPLE
    contract = json.loads((models / "verifier/model.json").read_text())
    assert contract["id"].startswith("cmburden-verifier-0-tuned-")
    assert contract["tuned_on"]["number"] == PEOPLE
    assert "sub-0" not in (models / "verifier/model.json").read_text()
    for kind in ("detector", "verifier"):
        start = (tuned / "models" / kind / f"{kind}.pt").read_bytes()
        assert (models / kind / f"{kind}.pt").read_bytes() != start
    # The pipeline takes them, and an evaluation on the same people is refused.
    detect.Detector(models / "detector", "cpu")
    verify.Verifier(models / "verifier", "cpu")
    rows = [Person(**one) for one in json.loads((models / "work/plan.json").read_text())["people"]]
    assert people.seen(contract, rows)[0] == rows


@pytest.mark.long
def test_networks_of_the_run_score_as_the_run_did(tuned):
    """What is measured after is measured as what was before: only the networks differ."""
    places = Places(tuned / "tuned")
    plan = planning.read(places)
    base = {kind: Path(plan.base[kind]) for kind in ("detector", "verifier")}
    networks = scored.Networks.load(
        base["detector"] / "detector.pt", [base["verifier"] / "verifier.pt"]
    )
    model = scored.in_use(json.loads((base["verifier"] / "model.json").read_text()))
    written = CANDIDATES.read(plan.layout.candidates)
    for scan in network.labelled_scans(plan, places)[:2]:
        judged, extents = scored.score(networks, scan, plan.layout, plan.search, model)
        rows = scored.by_probability(judged, extents, scan, plan.layout, model)
        own = written[written["scan_id"] == scan.scan_id].reset_index(drop=True)
        pd.testing.assert_frame_equal(CANDIDATES.frame(rows), own)


def contents(models: Path) -> dict[str, bytes]:
    """All that a user has of a tuning."""
    return {
        path.relative_to(models).as_posix(): path.read_bytes()
        for path in sorted(models.rglob("*"))
        if path.is_file() and "work" not in path.relative_to(models).parts
    }


@pytest.mark.long
def test_killed_and_started_again_it_ends_the_same(tuned, monkeypatch):
    """Killed in the detector, again while it mines and in YOLO, and again while it calibrates."""
    models, again = tuned / "tuned", tuned / "again"
    expected = contents(models)
    shutil.copytree(models / "work", again / "work")
    shutil.rmtree(again / "work/networks/without-1")
    for name in ("fitted", "unseen"):
        shutil.rmtree(again / "work" / name)
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
        (detector, "learn", 1),
        (network.mine, "mine_slab", 2),
        (verifier, "_write_weights", 0),
        (scored, "score", 1),
        (unseen.calibrate, "fit", 1),
        (evaluate, "write_json", 0),
    ):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(*dies_after(module, name, calls))
            tune(tuned, again)
        assert not (again / "tuning.json").exists()
    assert tune(tuned, again) == 0
    assert contents(again) == expected
    # A finished tuning trains nothing again.
    monkeypatch.setattr(network, "make", None)
    assert tune(tuned, again) == 0
    assert contents(again) == expected


@pytest.mark.long
def test_networks_are_jobs(tuned, monkeypatch, capsys):
    """A job for each of the networks that are not made; the command ends, and goes on later."""
    models, asked = tuned / "jobs", []
    shutil.copytree(tuned / "tuned/work", models / "work")
    for name in ("without-0", "without-1-2"):
        (models / "work/networks" / name / "finished.json").unlink()
    monkeypatch.setattr(
        command.submission, "run_jobs", lambda runs, resources: asked.append((runs, resources)) or 0
    )
    assert tune(tuned, models, "--executor", "local", "--cpus", 2) == 0
    assert "2 jobs go on; give the same command again" in capsys.readouterr().out
    ((runs, resources),) = asked
    assert [run.arguments for run in runs] == [
        (str(models), "without-0", "--workers", "0"),
        (str(models), "without-1-2", "--workers", "0"),
    ]
    assert resources.executor == "local" and runs[0].threads == 2
    # What a job does ends with the mark.
    assert [run.main() for run in runs] == [0, 0]
    assert tune(tuned, models, "--executor", "local") == 0
    assert contents(models) == contents(tuned / "tuned")


@pytest.mark.long
def test_another_tuning_in_the_folder_is_refused(tuned):
    with pytest.raises(CMBurdenError, match="holds a tuning with other schedule; give the same"):
        tune(tuned, tuned / "tuned", "--seed", 7)
    truth_of(tuned, "other.tsv", radius_mm=3.0)
    with pytest.raises(CMBurdenError, match="holds a tuning with other truth"):
        tune(tuned, tuned / "tuned", truth="other.tsv")
    with pytest.raises(CMBurdenError, match="holds models already"):
        tune(tuned, tuned / "models")


@pytest.mark.slow
def test_other_models_than_the_runs_are_refused(study, tmp_path):
    """The folder of the run's verifier holds other weights since: before would be another model."""
    kept = tmp_path / "kept"
    shutil.copytree(study / "models", kept)
    try:
        torch.save(untrained(0.25).state_dict(), study / "models/verifier/verifier.pt")
        contract = json.loads((study / "models/verifier/model.json").read_text())
        contract["weights"] = {"verifier.pt": "b" * 64}
        write_json(study / "models/verifier/model.json", contract)
        with pytest.raises(
            CMBurdenError, match=r"does not hold the verifier that .* was made with"
        ):
            tune(study, tmp_path / "tuned")
    finally:
        shutil.rmtree(study / "models")
        shutil.copytree(kept, study / "models")


@pytest.mark.slow
def test_what_cannot_be_tuned_on_is_one_sentence(study, tmp_path):
    truth = pd.read_csv(study / "truth.tsv", sep="\t", keep_default_na=False)
    clean = truth.assign(kind="none", source_id=0, x_mm="n/a", y_mm="n/a", z_mm="n/a")
    clean.drop_duplicates("scan_id").to_csv(study / "clean.tsv", sep="\t", index=False)
    with pytest.raises(CMBurdenError, match="nothing to tune on"):
        tune(study, tmp_path / "a", truth="clean.tsv")
    truth.assign(scan_id="x" + truth["scan_id"]).to_csv(study / "far.tsv", sep="\t", index=False)
    with pytest.raises(CMBurdenError, match="scan_id must agree"):
        tune(study, tmp_path / "b", truth="far.tsv")
    with pytest.raises(CMBurdenError, match="--partition: only jobs have this"):
        tune(study, tmp_path / "c", "--partition", "long")
    with pytest.raises(CMBurdenError, match="is the run's folder"):
        tune(study, study / "derivatives")


def test_schedule_has_its_defaults():
    assert Schedule() == Schedule(planning.FOLDS, planning.STEPS, planning.RATE, planning.EPOCHS)
