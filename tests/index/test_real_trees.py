"""Six trees that others made: each image is taken or has its reason, in any order of the disk."""

import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from small_trees import images_of, index_of

ARCHIVES = Path(__file__).resolve().parents[3] / "shared" / "data" / "trees"
pytestmark = pytest.mark.skipif(not ARCHIVES.is_dir(), reason="the real trees are not here")

#: Numbers of scans and of each reason, counted from the names and sidecars of the trees.
KNOWN = {
    # Eight of ten people have a GRE: a magnitude, and a phase with the magnitude's sidecar.
    "ds000221": (8, {"part_phase": 8, "other_kind": 306, "no_scan": 2}),
    # Six scanners: 18 echoes of magnitude and of phase, 6 normalised ones, 464 of single coils.
    "ds004712": (
        6,
        {
            "single_coil": 464,
            "part_phase": 18,
            "echo_not_chosen": 12,
            "rec_not_chosen": 6,
            "other_kind": 24,
        },
    ),
    # Three people with four runs of six echoes.
    "ds004943": (12, {"part_phase": 72, "echo_not_chosen": 60, "other_kind": 12}),
    "ds005849": (34, {"part_phase": 34, "other_kind": 1003}),
    # Two of eight sidecars say SPINE; the others are left to the check of the image.
    "spine-generic-multi": (6, {"not_brain": 2, "no_scan": 2, "other_kind": 40}),
    "studyforrest": (8, {"part_phase": 8, "other_kind": 40}),
}


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(ARCHIVES / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="fully_trusted")
    return folder / name


@pytest.mark.parametrize("name", KNOWN)
def test_each_image_is_a_scan_or_has_its_reason(tmp_path, name):
    bids = unpacked(name, tmp_path)
    made = index_of(bids)
    scans, reasons = KNOWN[name]
    assert (len(made.scans), Counter(made.reasons.values())) == (scans, reasons)
    files = set(made.rejected.index) - made.people
    assert images_of(bids) == set(made.manifest["path"]) | files
    assert made.people == {path.name for path in bids.glob("sub-*")}


def test_values_of_the_real_sidecars(tmp_path):
    made = index_of(unpacked("ds004712", tmp_path))
    assert set(made.manifest["contrast"]) == {"SWI"}
    chosen = "sub-03997_ses-OXF1PRI001_echo-2_part-mag_GRE"
    assert made.value(chosen, "echo_time_s") == 0.0197
    assert made.value(chosen, "phase_path").endswith("_echo-2_part-phase_GRE.nii.gz")
    made = index_of(unpacked("studyforrest", tmp_path))
    assert set(made.manifest["warning"]) == {
        "No sidecar: echo time and field strength are unknown."
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_the_order_of_the_disk_changes_no_byte(tmp_path, name):
    bids = unpacked(name, tmp_path / "a")
    copy = tmp_path / "b" / name
    paths = sorted(path for path in bids.rglob("*") if path.is_symlink() or path.is_file())
    for path in reversed(paths):
        target = copy / path.relative_to(bids)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)
    written = []
    for tree in (bids, copy):
        index_of(tree)
        out = tree.parent / "out" / "work"
        tables = ("manifest.parquet", "rejected.parquet")
        written.append([(out / table).read_bytes() for table in tables])
    assert written[0] == written[1]
