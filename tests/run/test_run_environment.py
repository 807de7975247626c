"""A run's environment: caches that can be written, text in UTF-8, no ids in a cluster's queue."""

import os
import subprocess
import sys

import pytest

from cmburden.core.paths import Layout
from cmburden.run import environment

FIXED = environment.ALWAYS


def test_caches_that_can_be_written_stay_where_they_are(tmp_path):
    assert environment.of_run(Layout(tmp_path / "out"), {"HOME": str(tmp_path)}) == FIXED
    before = {"HOME": "/dev/null", "XDG_CACHE_HOME": str(tmp_path / "a")}
    before["MPLCONFIGDIR"] = str(tmp_path / "b")
    assert environment.of_run(Layout(tmp_path / "out"), before) == FIXED
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("home", ["/dev/null", "/proc/absent", "a\0b"])
def test_without_a_home_caches_lie_in_the_output_folder(tmp_path, home):
    out = tmp_path / "out"
    assert environment.of_run(Layout(out), {"HOME": home}) == FIXED | {
        "XDG_CACHE_HOME": str(out / "work/home/.cache"),
        "MPLCONFIGDIR": str(out / "work/home/.config/matplotlib"),
    }
    assert (out / "work/home/.cache").is_dir()
    # A variable that names such a place is no better.
    before = {"HOME": str(tmp_path), "XDG_CACHE_HOME": home}
    assert set(environment.of_run(Layout(out), before)) == {*FIXED, "XDG_CACHE_HOME"}


@pytest.mark.slow
def test_snakemake_starts_without_a_home(tmp_path):
    variables = environment.of_run(Layout(tmp_path), {"HOME": "/dev/null"})
    variables = os.environ | {"HOME": "/dev/null"} | variables
    (tmp_path / "Snakefile").write_text(
        "rule all:\n    output: 'a'\n    shell: 'touch {output:q}'\n"
    )
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet"]
    subprocess.run(command, check=True, cwd=tmp_path, env=variables, capture_output=True)
    assert (tmp_path / "a").exists()


@pytest.mark.slow
def test_text_is_utf_8_in_any_locale_and_modules_of_the_present_folder_are_not_imported(tmp_path):
    (tmp_path / "yaml.py").write_text("raise SystemExit('imported from the present folder')")
    (tmp_path / "ü.yaml").write_text("report: {title: übung}\n", encoding="utf-8")
    bids = tmp_path / "bids"
    bids.mkdir()
    program = "import sys; from cmburden.run.cli import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", program, "run", "bids", "out", "participant"]
    command += ["--config-file", "ü.yaml", "--set", "nö=1"]
    for variables in (
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ):
        done = subprocess.run(
            command, check=False, cwd=tmp_path, env=os.environ | variables, capture_output=True
        )
        assert done.returncode == 2, done.stderr
        assert "unknown key ['nö']" in done.stderr.decode("utf-8")
