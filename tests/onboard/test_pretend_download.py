"""A whole download of ADNI's form, from simulated microbleeds: the truth comes back."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cmburden.onboard import stage
from cmburden.onboard.parts import Request
from cmburden.studies import pretend_download

pytestmark = pytest.mark.slow

#: Oblique by 0.2 rad about x and 0.1 about z: an axis that is mixed up cannot hide.
TURN = nib.eulerangles.euler2mat(0.1, 0.0, 0.2)
SIZES = np.array([1.0, 1.0, 3.0])
SHAPE = (64, 72, 20)
AFFINE = nib.affines.from_matvec(TURN @ np.diag(SIZES), [-30.0, -40.0, -25.0])
#: Participants, of whom the tenth has a repeat; every eighth scan is not read.
PEOPLE = 11


def write_scan(folder, stem, dots):
    """A bright ellipsoid with noise and dark ``dots`` (n, 3), voxels."""
    at = np.stack(np.indices(SHAPE), -1)
    inside = (((at - np.array(SHAPE) / 2) / (np.array(SHAPE) / 2.2)) ** 2).sum(-1) < 1
    image = np.where(inside, 1000.0, 20.0) + np.random.default_rng(len(stem)).normal(0, 20, SHAPE)
    for dot in dots:
        image[(((at - dot) * SIZES) ** 2).sum(-1) < 2.0**2] *= 0.3
    folder.mkdir(parents=True)
    stored = np.clip(image, 0, None).round().astype(np.int16)
    nib.save(nib.Nifti1Image(stored, AFFINE), folder / f"{stem}.nii.gz")
    sidecar = {"EchoTime": 0.02, "MagneticFieldStrength": 3.0}
    (folder / f"{stem}.json").write_text(json.dumps(sidecar))
    return stored


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A BIDS tree of two sessions a participant, with its truth."""
    folder = tmp_path_factory.mktemp("pretend")
    rng = np.random.default_rng(7)
    rows, people, images = [], [], {}
    for number in range(1, PEOPLE + 1):
        name = f"sub-ADNI{number:03d}"
        people.append({"participant_id": name, "age": 70 + number, "sex": "F", "diagnosis": "MCI"})
        for session in (1, 2):
            stem = f"{name}_ses-{session}_T2starw"
            # The third participant has none.
            dots = rng.integers([18, 20, 6], [46, 52, 14], (0 if number == 3 else 2, 3))
            images[number, session] = write_scan(
                folder / "bids" / name / f"ses-{session}" / "anat", stem, dots
            )
            base = {"scan_id": stem, "cohort": "ADNI", "participant_id": name}
            for source, dot in enumerate(dots, start=1):
                x, y, z = nib.affines.apply_affine(AFFINE, dot).round(3)
                kind = "microbleed" if source == 1 or number % 2 else "faint"
                place = {"x_mm": x, "y_mm": y, "z_mm": z, "radius_mm": 2.0}
                rows.append(base | {"source_id": source, "kind": kind} | place)
            if not len(dots):
                rows.append(base | {"source_id": 0, "kind": "none"})
    pd.DataFrame(people).to_csv(folder / "bids/participants.tsv", sep="\t", index=False)
    pd.DataFrame(rows).to_csv(folder / "truth.tsv", sep="\t", index=False, na_rep="n/a")
    pretend_download.run([(folder / "bids", folder / "truth.tsv")], folder / "download")
    return folder, images


def test_the_truth_of_a_download_is_that_of_the_simulation(cohort):
    folder, _ = cohort
    source = folder / "download"
    request = Request(
        cohort="adni",
        sources=(source / "ADNI",),
        out=folder / "out",
        lesions=source / pretend_download.TABLE,
        tables=(source / "collection.csv",),
        jobs=2,
    )
    result = stage.run(request)
    # The repeat of the tenth participant stands beside.
    assert len(result.images) == 2 * PEOPLE + 1
    columns = ["scan_id", "kind", "x_mm", "y_mm", "z_mm"]
    got = pd.read_csv(folder / "out/truth.tsv", sep="\t", na_values="n/a", keep_default_na=False)
    wanted = pd.read_csv(source / "expected.tsv", sep="\t", na_values="n/a", keep_default_na=False)
    got, wanted = (
        table[columns].sort_values(columns).reset_index(drop=True) for table in (got, wanted)
    )
    assert got[["scan_id", "kind"]].equals(wanted[["scan_id", "kind"]])
    # The table has tenths of a millimetre.
    apart = np.abs(got[columns[2:]].to_numpy(float) - wanted[columns[2:]].to_numpy(float))
    assert np.nanmax(apart) <= 0.051
    assert (got["kind"] == "none").sum() == 2
    # 22 scans, of which the 8th and the 16th were not read.
    assert got["scan_id"].nunique() == 20
    record = json.loads((folder / "out/onboard.json").read_text())
    assert record["truth"]["convention"] == "ras"
    assert json.loads((folder / "out/truth.json").read_text())["Origin"] == "readers"


def test_the_voxels_of_a_download_are_those_of_the_simulation(cohort):
    folder, images = cohort
    image = nib.load(
        folder / "out/bids/sub-ADNI002S0002/ses-M012/anat/sub-ADNI002S0002_ses-M012_T2starw.nii.gz"
    )
    canonical = nib.as_closest_canonical(image)
    assert np.array_equal(np.asarray(canonical.dataobj), images[2, 2])
    assert np.abs(canonical.affine - AFFINE).max() < 1e-3
    people = pd.read_csv(folder / "out/bids/participants.tsv", sep="\t", dtype=str)
    second = people.set_index("participant_id").loc["sub-ADNI002S0002"]
    assert (second["sex"], second["age"]) == ("F", "72")
