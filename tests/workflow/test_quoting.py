"""No path, label or value of a user reaches a shell as more than one word."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from cmburden.core import resources
from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout

ROOT = resources.root()
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow").rglob("*.smk"))]
#: A placeholder of Snakemake's formatter, and not the braces of ``{{``.
PLACEHOLDER = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")


def shell_texts(text: str) -> list[str]:
    """The texts of the ``shell:`` directives and ``shell(...)`` calls of a Snakefile."""
    texts = []
    literal = r"[rfbu]*(?:\"\"\".*?\"\"\"|\".*?\")\s*"
    for match in re.finditer(rf"\bshell\s*(?::|\()\s*((?:{literal})+)", text, re.S):
        texts.append(ast.literal_eval(f"({match[1].strip()})"))
    return texts


def unquoted(text: str) -> list[str]:
    return [one for one in PLACEHOLDER.findall(text) if not one.endswith(":q")]


def test_every_word_of_a_shell_command_is_quoted():
    found = {path.name: shell_texts(path.read_text()) for path in RULES}
    # Each directive was read: none is written in another way than this test understands.
    for path in RULES:
        assert len(found[path.name]) == len(re.findall(r"\bshell\s*[:(]", path.read_text()))
    assert sum(map(len, found.values())) >= 1
    assert [one for texts in found.values() for text in texts for one in unquoted(text)] == []
    assert unquoted("echo {params.key} > {output:q} {{x}}") == ["params.key"]


def test_scripts_start_no_shell():
    """Nor does the package: no command is a string that a shell splits."""
    python = [*(ROOT / "workflow").rglob("*.py"), *(ROOT / "src").rglob("*.py")]
    for path in python:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                raise AssertionError(f"{path}:{node.value.lineno}: shell=")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.system", "os.popen"):
                raise AssertionError(f"{path}:{node.lineno}: {ast.unparse(node)}")


def test_plain_snakemake_runs_no_command_of_a_folders_name(tmp_path):
    bids, output = tmp_path / "bids", tmp_path / "o;touch PWN;x $(touch PWN2) 'y' \"z\" w"
    for session in ("a", "b"):
        scan = bids / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_T2starw.nii.gz"
        scan.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(np.full((4, 4, 4), 7, np.int16), np.eye(4)), scan)
    (bids / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    work = tmp_path / "work"
    work.mkdir()
    key = Path("..", output.name, Layout("").people(bucket_of("sub-01", 16)))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--cores", "1", "--directory", str(work), key.as_posix()]
    command += ["--config", f"bids_dir={bids}", f"output_dir={output}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(tmp_path.rglob("PWN*"))
    assert re.fullmatch(r"[0-9a-f]{64}\n", (work / key).read_text())
