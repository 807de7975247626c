"""Our listing and inheritance against bids2table's, another implementation of both."""

import json
from pathlib import Path

import bids2table
import pytest

from cmburden import bids_tree

EXAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "bids_examples"
#: Sidecars at all levels, some of other echoes, participants and suffixes, and one that is torn.
SIDECARS = {
    "T2starw.json": {"EchoTime": 1, "Manufacturer": "root"},
    "acq-lo_T2starw.json": {"EchoTime": 2},
    "MEGRE.json": {"EchoTime": 3},
    "sub-01/sub-01_T2starw.json": {"EchoTime": 4},
    "sub-01/ses-1/anat/sub-01_ses-1_acq-hi_T2starw.json": {"EchoTime": 5, "FlipAngle": 15},
    "sub-01/ses-1/anat/sub-01_ses-1_echo-1_MEGRE.json": {"EchoTime": 6},
    "sub-02/anat/sub-02_T2starw.json": None,
}
IMAGES = (
    "sub-01/ses-1/anat/sub-01_ses-1_T2starw.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_acq-hi_T2starw.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_echo-1_MEGRE.nii.gz",
    "sub-01/ses-1/anat/sub-01_ses-1_echo-2_MEGRE.nii.gz",
    "sub-02/anat/sub-02_acq-hi_T2starw.nii",
    "sub-02/anat/sub-02_swi.nii.gz",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tree") / "bids"
    for name in IMAGES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, content in SIDECARS.items():
        (root / name).write_text("{" if content is None else json.dumps(content))
    (root / "dataset_description.json").write_text('{"Name": "made up", "BIDSVersion": "1.10.0"}')
    (root / "derivatives/sub-01").mkdir(parents=True)
    (root / "derivatives/sub-01/sub-01_T2starw.nii.gz").touch()
    (root / "sub-01/up").symlink_to(root / "sub-01")
    return root


def by_bids2table(root: Path) -> list[str]:
    paths = bids2table.index_dataset(root).column("path").to_pylist()
    return sorted(p for p in paths if p.endswith(bids_tree.IMAGES) and "/up/" not in p)


def test_images_are_those_of_bids2table(tree):
    found = [path for path in bids_tree.images(tree) if "/up/" not in path]
    assert found == sorted(IMAGES) == by_bids2table(tree)


@pytest.mark.parametrize("image", IMAGES)
def test_metadata_are_those_of_bids2table(tree, image):
    assert bids_tree.Sidecars(tree).of(image) == bids2table.load_bids_metadata(tree / image)


def test_of_two_in_a_folder_the_more_specific_wins(tree):
    """BIDS allows one only; bids2table takes either."""
    sidecar = tree / "acq-hi_T2starw.json"
    sidecar.write_text('{"EchoTime": 7}')
    assert bids_tree.Sidecars(tree).of(IMAGES[4])["EchoTime"] == 7
    sidecar.unlink()


def test_a_link_that_leads_nowhere_is_an_image(tmp_path):
    folder = tmp_path / "sub-01/anat"
    folder.mkdir(parents=True)
    (folder / "sub-01_swi.nii.gz").symlink_to("../../.git/annex/objects/KEY")
    (folder / "elsewhere").symlink_to("gone")
    assert bids_tree.images(tmp_path) == ["sub-01/anat/sub-01_swi.nii.gz"]


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the BIDS examples are not here")
def test_examples_of_bids_give_the_same():
    trees = sorted(p.parent for p in EXAMPLES.glob("*/dataset_description.json"))
    assert trees
    for root in trees:
        found = by_bids2table(root)
        assert bids_tree.images(root) == found, root
        sidecars = bids_tree.Sidecars(root)
        for image in [f for f in found if "/anat/" in f][:5]:
            assert sidecars.of(image) == bids2table.load_bids_metadata(root / image), image
