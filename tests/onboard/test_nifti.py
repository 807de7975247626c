"""Images of cohorts that come as NIfTI: copied, linked, or left out with a reason."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cmburden.onboard import convert
from cmburden.onboard.parts import Fixed, Source


def image(path: Path, shape: tuple[int, ...] = (6, 6, 12)) -> Source:
    """A source whose layout says that it is phase of the second echo."""
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), path)
    fixed = Fixed("layout", "MEGRE", (("echo", "2"), ("part", "phase")), {"EchoTime": 0.02})
    header = {"EchoTime": 9.0, "RepetitionTime": 27.0, "PatientName": "Jo Doe"}
    return Source("x", (path,), "1", header=header, fixed=fixed)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_copy_is_equal_and_the_cohorts_word_wins(tmp_path, ending) -> None:
    source = image(tmp_path / f"scan{ending}")
    folder = tmp_path / "out"
    folder.mkdir()
    (made,) = convert.place(source, folder, link=False).made
    assert (folder / made.file).read_bytes() == source.files[0].read_bytes()
    assert made.file.endswith(ending)
    # Times of a header are in ms, as DICOM has them; those of the layout in s.
    assert dict(made.sidecar) == {
        "EchoTime": 0.02,
        "RepetitionTime": 0.027,
        "Units": "arbitrary",
    }


def test_a_link_and_a_name_more_for_what_came_out_of_an_archive(tmp_path) -> None:
    source = image(tmp_path / "scan.nii.gz")
    for name, options in (("a", {"link": True}), ("b", {"link": False, "ours": tmp_path})):
        (tmp_path / name).mkdir()
        convert.place(source, tmp_path / name, **options)
    assert (tmp_path / "a" / "x.nii.gz").readlink() == source.files[0]
    assert (tmp_path / "b" / "x.nii.gz").samefile(source.files[0])


def test_what_is_no_volume_is_a_fault(tmp_path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (fault,) = convert.place(image(tmp_path / "a.nii.gz", (6, 6, 12, 3)), folder, link=False).faults
    assert "6 x 6 x 12 x 3" in fault
    (fault,) = convert.place(image(tmp_path / "b.nii.gz", (6, 6, 1)), folder, link=False).faults
    assert "no single volume" in fault
    torn = image(tmp_path / "c.nii.gz")
    torn.files[0].write_bytes(b"no image")
    (fault,) = convert.place(torn, folder, link=False).faults
    assert str(tmp_path) not in fault
    assert not list(folder.iterdir())
