"""The wheel alone, in an empty folder: what it needs of the repository is inside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with nothing but the installed wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    quiet = ["--quiet", "--no-deps"]
    build = [*pip, "wheel", *quiet, "--no-build-isolation", "--wheel-dir", folder / "dist", ROOT]
    subprocess.run(build, check=True)
    (wheel,) = (folder / "dist").glob("cmburden-*.whl")
    target = folder / "installed"
    subprocess.run([*pip, "install", *quiet, "--target", target, wheel], check=True)
    return target


def cmburden(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command with the wheel's package, and none of the repository."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(installed)
    return subprocess.run(
        [sys.executable, "-m", "cmburden", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_models_workflow_and_profiles_are_inside(installed, tmp_path):
    code = (
        "import cmburden; from cmburden.core import config, resources; print(cmburden.__file__); "
        "print(resources.root()); config.load(); from cmburden.run.begin import check_models; "
        "check_models(config.defaults())"
    )
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    package, root = done.stdout.split()
    assert Path(package).is_relative_to(installed)
    assert Path(root) == installed / "cmburden" / "bundled"
    for profile in ("default", "slurm"):
        assert (Path(root) / "workflow" / "profiles" / profile / "config.yaml").exists()
    assert not (installed / "cmburden" / "studies").exists()


def test_a_dry_run_from_an_empty_folder(installed, tmp_path):
    anat = tmp_path / "bids" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (anat / "sub-01_T2starw.nii.gz").write_bytes(b"x")
    (tmp_path / "bids" / "dataset_description.json").write_text(
        '{"Name": "x", "BIDSVersion": "1.10.0"}'
    )
    done = cmburden(installed, tmp_path, "bids", "out", "participant", "-n", "--profile", "slurm")
    assert done.returncode == 0, done.stderr
    assert "1 scans found" in done.stdout
    assert "detect" in done.stdout + done.stderr
