"""A user's own labels: known centres and radii, whatever the orientation; what is wrong is said."""

import json

import nibabel as nib
import numpy as np
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import MANIFEST, SCANS
from cmburden.images import volume as images
from cmburden.train import label_masks, label_table, labels, lesions, mine, slabs

SHAPE = (60, 64, 24)
SIZES = np.array([1.0, 1.0, 2.0])
#: Two lesions by their voxels in the raw scan, far from the middle on every axis.
LESIONS = ((14, 40, 6), (44, 20, 17))


def rotation(x: float, z: float) -> np.ndarray:
    c, s = np.cos([x, z]), np.sin([x, z])
    return np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]]) @ np.array(
        [[c[1], -s[1], 0], [s[1], c[1], 0], [0, 0, 1]]
    )


#: Direction of the raw axes.
ORIENTATIONS = {
    "RAS": np.eye(3),
    "LAS": np.diag([-1.0, 1, 1]),
    "LPS": np.diag([-1.0, -1, 1]),
    "PSR": np.array([[0.0, 0, 1], [-1, 0, 0], [0, 1, 0]]),
    "oblique": rotation(0.3, -0.2),
    "oblique LPS": rotation(-0.25, 0.4) @ np.diag([-1.0, -1, 1]),
}


def affine_of(name: str) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = ORIENTATIONS[name] * SIZES
    affine[:3, 3] = [3.0, -17.5, 8.25] - affine[:3, :3] @ (np.array(SHAPE) / 2)
    return affine


def raw_scan() -> np.ndarray:
    data = np.ones(SHAPE, np.float32)
    for at in LESIONS:
        data[tuple(slice(a - 1, a + 2) for a in at)] = 0.1
    return data


class Run:
    """The output of a run over small scans, all in one orientation, and labels beside it."""

    def __init__(self, folder, orientation="RAS"):
        self.layout = Layout(folder / "derivatives")
        self.labels = folder / "labels"
        self.affine = affine_of(orientation)
        self.scans, self.rows = [], []

    def add(self, participant, suffix="T2starw", session=None, status="ok", **entities):
        pairs = {"sub": participant, **({"ses": session} if session else {}), **entities}
        scan_id = "_".join(f"{k}-{v}" for k, v in pairs.items()) + f"_{suffix}"
        scan = Scan(
            scan_id,
            "Here",
            f"sub-{participant}",
            f"ses-{session}" if session else None,
            suffix,
            "SWI" if suffix == "swi" else "GRE",
            self.layout.root,
            tuple(pairs.items()),
        )
        self.scans.append(scan)
        failed = {} if status == "ok" else {"reason": "registration", "message": "Not aligned."}
        self.rows.append(
            {
                "scan_id": scan_id,
                "cohort": scan.cohort,
                "participant_id": scan.participant_id,
                "session_id": scan.session_id,
                "suffix": suffix,
                "contrast": scan.contrast,
                "path": f"{scan_id}.nii.gz",
                "status": status,
                **failed,
            }
        )
        inside = np.zeros(SHAPE)
        inside[6:-6, 6:-6, 2:-2] = 1
        for data, path, kind in (
            (raw_scan(), self.layout.preproc(scan), np.float32),
            (inside, self.layout.brain_mask(scan), np.uint8),
        ):
            canonical = nib.as_closest_canonical(nib.Nifti1Image(data, self.affine))
            images.save_volume(path, canonical.get_fdata(), canonical.affine, kind)
        return scan_id

    def write_tables(self):
        keep = set(MANIFEST.names)
        MANIFEST.write(
            self.layout.manifest,
            [
                {k: v for k, v in row.items() if k in keep}
                | {"entities": json.dumps(scan.entities), "bucket": 0, "content_key": "x"}
                for scan, row in zip(self.scans, self.rows, strict=True)
            ],
        )
        SCANS.write(self.layout.table("scans"), self.rows)

    def label(self, name, voxels=LESIONS, *, affine=None, shape=SHAPE, value=1):
        data = np.zeros(shape, np.uint8)
        for number, at in enumerate(voxels):
            data[tuple(slice(a - 1, a + 2) for a in at)] = value + number * (value > 1)
        path = self.labels / name.split("_")[0] / "anat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, self.affine if affine is None else affine), path)
        return path

    def slabs(self, *, keep_going=False, **source):
        self.write_tables()
        out = self.layout.root.parent / "slabs"
        paths = labels.run(
            self.layout.root, out, labels.LabelSource(**source), keep_going=keep_going
        )
        return {path.stem.removeprefix("slab-"): slabs.load(path, slabs.Slab) for path in paths}

    def mm(self, voxels=LESIONS):
        return nib.affines.apply_affine(self.affine, np.array(voxels, float))


def table(folder, rows, header="scan_id\tx_mm\ty_mm\tz_mm"):
    path = folder / "lesions.tsv"
    path.write_text(header + "\n" + "\n".join(rows) + "\n")
    return path


def by_place(points):
    return sorted(np.round(points, 2).tolist())


# --- masks ---


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_masks_give_places_in_scanner_millimetres(tmp_path, orientation):
    run = Run(tmp_path, orientation)
    scan_id = run.add("01")
    run.label("sub-01_label-CMB_mask.nii.gz")
    slab = run.slabs(masks=run.labels)[scan_id]
    assert by_place(slab.centre_mm) == pytest.approx(np.array(by_place(run.mm())), abs=0.02)
    # 27 voxels of 2 mm3 are a sphere of this radius.
    assert slab.radius == pytest.approx([(3 * 54 / (4 * np.pi)) ** (1 / 3)] * 2)
    assert slab.kind.tolist() == ["microbleed"] * 2
    # On the network's grid and in the scan itself each centre is where it is dark.
    scan_voxels = nib.affines.apply_affine(np.linalg.inv(slab.affine), slab.centre_mm)
    for image, places in ((slab.image, slab.centre), (slab.scan, scan_voxels)):
        for at in np.round(places).astype(int):
            assert image[tuple(at)] < 0.5


def test_what_a_slab_says_of_its_scan(tmp_path):
    run = Run(tmp_path)
    scan_id = run.add("01", "swi", session="b")
    run.label("sub-01_ses-b_label-CMB_mask.nii.gz", [])
    slab = run.slabs(masks=run.labels)[scan_id]
    assert [slab.name, slab.contrast, slab.person] == ["Here", "SWI", "sub-01"]
    assert slab.scan.shape == SHAPE
    # Read, and nothing found: a slab without lesions.
    assert slab.centre_mm.shape == slab.centre.shape == (0, 3)
    assert slab.radius.shape == slab.kind.shape == (0,)


def test_components_touch_by_corners_and_segmentations_part_them():
    volume = np.zeros((8, 8, 8), int)
    volume[1, 1, 1] = volume[2, 2, 2] = 1
    volume[5, 5, 5], volume[5, 5, 6] = 1, 2
    one = label_masks.lesions_of(volume, np.eye(4), segmented=False)
    assert [lesion.centre for lesion in one] == [(1.5, 1.5, 1.5), (5.0, 5.0, 5.5)]
    parted = label_masks.lesions_of(volume, np.eye(4), segmented=True)
    assert len(parted) == 3
    assert (5.0, 5.0, 6.0) in [lesion.centre for lesion in parted]
    assert label_masks.lesions_of(volume * 0, np.eye(4), segmented=True) == ()


def test_a_sphere_has_its_radius():
    grid = np.stack(np.meshgrid(*[np.arange(40) * 0.25] * 3, indexing="ij"), -1)
    inside = np.linalg.norm(grid - 5, axis=-1) <= 3
    [lesion] = label_masks.lesions_of(
        inside.astype(int), np.diag([0.25] * 3 + [1]), segmented=False
    )
    assert lesion.radius_mm == pytest.approx(3, rel=0.01)
    assert lesion.centre == pytest.approx((5, 5, 5))


def test_a_label_may_be_stored_in_another_orientation_than_the_scan(tmp_path):
    run = Run(tmp_path, "LPS")
    scan_id = run.add("01")
    path = run.label("sub-01_label-CMB_dseg.nii.gz", value=2)
    nib.save(nib.as_closest_canonical(nib.load(path)), path)
    slab = run.slabs(masks=run.labels)[scan_id]
    assert by_place(slab.centre_mm) == pytest.approx(np.array(by_place(run.mm())), abs=0.02)


def test_a_file_belongs_to_the_scan_of_its_entities(tmp_path):
    run = Run(tmp_path)
    gre, swi = run.add("01"), run.add("01", "swi")
    high, low = run.add("02", acq="high"), run.add("02", acq="low")
    run.label("sub-01_label-CMB_mask.nii.gz")
    run.label("sub-01_acq-swi_desc-reader_label-CMB_mask.nii.gz", LESIONS[:1])
    run.label("sub-02_acq-low_space-orig_label-CMB_mask.nii.gz", [])
    found = run.slabs(masks=run.labels)
    assert {name: len(slab.radius) for name, slab in found.items()} == {gre: 2, swi: 1, low: 0}
    # Nobody read this one: it is no scan without microbleeds.
    assert high not in found


def test_all_that_is_wrong_with_masks_is_said_at_once(tmp_path):
    run = Run(tmp_path)
    for name in ("01", "02", "03", "04"):
        run.add(name)
    good = run.add("05")
    run.add("06", acq="a"), run.add("06", acq="b")
    shifted = run.affine.copy()
    shifted[0, 3] += 4
    run.label("sub-01_label-CMB_mask.nii.gz", affine=shifted)
    run.label("sub-02_label-CMB_mask.nii.gz", shape=(60, 64, 25))
    run.label("sub-03_label-CMB_mask.nii.gz").write_bytes(b"")
    run.label("sub-04_label-CMB_mask.nii.gz"), run.label("sub-04_label-CMB_dseg.nii.gz")
    run.label("sub-05_label-CMB_mask.nii.gz")
    run.label("sub-06_label-CMB_mask.nii.gz")
    run.label("sub-07_label-CMB_mask.nii.gz")
    with pytest.raises(CMBurdenError) as caught:
        run.slabs(masks=run.labels)
    head, *said = str(caught.value).splitlines()
    assert head.startswith("6 problem(s) with the labels, nothing was written")
    assert said == sorted(said)
    for line, text in zip(
        said,
        (
            "up to 4.0 mm away from the scan; draw or resample it on the scan sub-01_T2starw",
            "its shape is 60 x 64 x 25, the scan's 60 x 64 x 24",
            "It has 0 bytes. To do: replace the file",
            "is of the same scan sub-04_T2starw; keep one",
            "it fits 2 scans (sub-06_acq-a_T2starw, sub-06_acq-b_T2starw)",
            "it fits no scan of the run",
        ),
        strict=True,
    ):
        assert text in line
    assert not (tmp_path / "slabs").exists()
    assert list(run.slabs(masks=run.labels, keep_going=True)) == [good]


def test_a_scan_that_was_not_read_by_the_run_is_named_and_left_out(tmp_path, capsys):
    run = Run(tmp_path)
    good, bad = run.add("01"), run.add("02", status="excluded")
    run.label("sub-01_label-CMB_mask.nii.gz")
    run.label("sub-02_label-CMB_mask.nii.gz")
    assert list(run.slabs(masks=run.labels)) == [good]
    said = f"{bad}: labelled but not used, excluded (registration): Not aligned."
    assert said in capsys.readouterr().out


def test_its_own_findings_are_no_labels(tmp_path):
    run = Run(tmp_path)
    run.add("01")
    with pytest.raises(CMBurdenError, match="CMBurden's own findings"):
        run.slabs(masks=run.layout.root)
    run.labels.mkdir()
    with pytest.raises(CMBurdenError, match="holds no sub-"):
        run.slabs(masks=run.labels)


# --- tables ---


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_table_is_in_scanner_millimetres(tmp_path, orientation):
    run = Run(tmp_path, orientation)
    scan_id = run.add("01")
    rows = [scan_id + "".join(f"\t{v:.3f}" for v in at) for at in run.mm()]
    slab = run.slabs(table=table(tmp_path, rows))[scan_id]
    assert slab.centre_mm == pytest.approx(run.mm(), abs=0.01)
    assert slab.radius == pytest.approx([lesions.RADIUS_MM] * 2)
    for at in np.round(slab.centre).astype(int):
        assert slab.image[tuple(at)] < 0.5


@pytest.mark.slow
def test_a_table_that_the_images_contradict_is_refused(tmp_path, capsys):
    run = Run(tmp_path, "LAS")
    scans = [run.add(f"0{n}") for n in range(1, 6)]

    def rows(points, scans=scans):
        return [name + "".join(f"\t{v:.1f}" for v in at) for name in scans for at in points]

    right, lps = rows(run.mm()), rows(run.mm() * [-1, -1, 1])
    with pytest.raises(CMBurdenError, match="the coordinates are lps, not ras: the images are da"):
        run.slabs(table=table(tmp_path, lps), keep_going=True)
    # Voxels: these lesions are too wide and even to tell which.
    with pytest.raises(CMBurdenError, match=r"are no ras of these images; dark at: voxel0 100 %"):
        run.slabs(table=table(tmp_path, rows(np.array(LESIONS) + 1)))
    assert len(run.slabs(table=table(tmp_path, right))) == 5
    assert "proven" not in capsys.readouterr().out
    # Points of two scans cannot tell.
    run.slabs(table=table(tmp_path, rows(run.mm(), scans[:2])))
    assert "whether the coordinates are ras is not proven: 4 point(s) of 2 participant(s)" in (
        capsys.readouterr().out
    )
    # Whoever trusts the table is told of single points outside of the brain.
    with pytest.raises(CMBurdenError, match="mm outside the brain of"):
        run.slabs(table=table(tmp_path, rows([(0, 90, 0)])), trust_coordinates=True)


def test_read_without_a_finding_is_told_from_not_read(tmp_path):
    run = Run(tmp_path)
    one, two, three, four = (run.add(f"0{n}") for n in range(1, 5))
    x, y, z = run.mm()[0]
    read = tmp_path / "read.txt"
    read.write_text(f"{one}\n\n{three}\n")
    rows = [f"{one}\t{x}\t{y}\t{z}", f"{two}\tn/a\tn/a\tn/a"]
    found = run.slabs(table=table(tmp_path, rows), read=read)
    assert {name: len(slab.radius) for name, slab in found.items()} == {one: 1, two: 0, three: 0}
    assert four not in found


def test_rows_may_name_participant_and_session(tmp_path):
    run = Run(tmp_path)
    one, two = run.add("01", session="a"), run.add("01", session="b")
    three = run.add("02")
    x, y, z = run.mm()[1]
    place = f"{x}\t{y}\t{z}"
    path = table(
        tmp_path,
        [f"01\tb\t{place}\t2.5\tcalcification", f"sub-02\t\t{place}\t\t"],
        "participant_id\tsession_id\tx_mm\ty_mm\tz_mm\tradius_mm\tkind",
    )
    found = run.slabs(table=path)
    assert set(found) == {two, three}
    assert one not in found
    assert (found[two].radius.tolist(), found[two].kind.tolist()) == (
        [2.5],
        ["calcification"],
    )
    assert found[three].kind.tolist() == ["microbleed"]


def test_all_that_is_wrong_with_a_table_is_said_at_once(tmp_path):
    run = Run(tmp_path)
    good = run.add("01")
    others = [run.add(f"0{n}") for n in range(2, 8)]
    run.add("08", acq="a"), run.add("08", acq="b")
    x, y, z = run.mm()[0]
    place = f"{x}\t{y}\t{z}"
    header = "scan_id\tparticipant_id\tx_mm\ty_mm\tz_mm\tradius_mm\tkind"
    rows = [
        f"{good}\t\t{place}\t\t",
        f"{others[0]}\t\t1\ttwo\t3\t\t",
        f"{others[1]}\t\t{place}\t0\t",
        f"{others[2]}\t\t{place}\t\tstar",
        f"{others[3]}\t\t400\t0\t0\t\t",
        # A scan with one sound and one wrong row is left out whole.
        f"{others[3]}\t\t{place}\t\t",
        f"{others[4]}\t\t\t\t\t\t",
        f"{others[4]}\t\t{place}\t\t",
        f"{others[5]}\t\t1\t\t3\t\t",
        f"\tsub-08\t{place}\t\t",
        f"unknown\t\t{place}\t\t",
    ]
    path, read = table(tmp_path, rows, header), tmp_path / "read.txt"
    read.write_text("nobody\n")
    with pytest.raises(CMBurdenError) as caught:
        run.slabs(table=path, read=read)
    said = str(caught.value)
    for text in (
        "line 3: y_mm is 'two'; give a number in mm",
        "line 4: radius_mm is 0; give millimetres above 0",
        "line 5: kind 'star'; allowed are",
        "line 6: (400.0, 0.0, 0.0) is more than 6 mm outside the brain of sub-05_T2starw",
        "line 8: nothing was found in sub-06_T2starw, but other lines name lesions",
        "line 10: y_mm is ''",
        "line 11: it fits 2 scans",
        "line 12: it fits no scan of the run",
        "read.txt: nobody is no scan of the run",
    ):
        assert text in said
    assert "9 problem(s)" in said
    assert list(run.slabs(table=path, read=read, keep_going=True)) == [good]


def test_a_vessel_outside_of_the_mask_is_no_wrong_label(tmp_path):
    """Veins run on the brain's surface; a microbleed lies in the brain."""
    run = Run(tmp_path)
    scan_id = run.add("01")
    x, y, z = run.mm()[0]
    header = "scan_id\tx_mm\ty_mm\tz_mm\tkind"
    bleed = f"{scan_id}\t{x}\t{y}\t{z}\tmicrobleed"
    path = table(tmp_path, [bleed, f"{scan_id}\t400\t0\t0\tvessel"], header)
    assert list(run.slabs(table=path)) == [scan_id]
    for kind in ("microbleed", "faint"):
        path = table(tmp_path, [bleed, f"{scan_id}\t400\t0\t0\t{kind}"], header)
        with pytest.raises(CMBurdenError, match=r"outside the brain of .* leave the scan out by"):
            run.slabs(table=path)


def test_kinds_are_those_that_mining_knows(tmp_path):
    row = {"x_mm": "1", "y_mm": "2", "z_mm": "3"}
    for kind in mine.CLASS_OF_KIND:
        assert label_table.lesion_of_row(row | {"kind": kind}).kind == kind


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("scan_id\tx_mm", r"column\(s\) y_mm, z_mm are missing"),
        ("x_mm\ty_mm\tz_mm", "scan_id or participant_id are missing"),
    ],
)
def test_a_table_without_its_columns(tmp_path, header, said):
    run = Run(tmp_path)
    run.add("01")
    with pytest.raises(CMBurdenError, match=said):
        run.slabs(table=table(tmp_path, [], header))


def test_no_run_and_no_usable_scan_are_one_sentence(tmp_path):
    with pytest.raises(CMBurdenError, match="not the output of a complete cmburden run"):
        labels.run(tmp_path, tmp_path / "o", labels.LabelSource(masks=tmp_path / "l"))
    with pytest.raises(CMBurdenError, match="only --table needs it"):
        labels.main(["d", "o", "--labels", "l", "--read-scans", "r"])
    run = Run(tmp_path)
    run.add("01")
    with pytest.raises(CMBurdenError, match="no labelled scan can be used"):
        run.slabs(table=table(tmp_path, []))
