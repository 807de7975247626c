"""No path, label or value of a user reaches a shell as more than one word."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from steps import run

from cmburden.core import resources

ROOT = resources.root()
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow").rglob("*.smk"))]
#: A placeholder of Snakemake's formatter, and not the braces of ``{{``.
PLACEHOLDER = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")


def shell_texts(text: str) -> list[str]:
    """The texts of the ``shell:`` directives and ``shell(...)`` calls of a Snakefile."""
    texts = []
    for match in re.finditer(r"\bshell\s*(?::|\()\s*((?:[rfbu]*(?:\"\"\".*?\"\"\"|\".*?\")\s*)+)", text, re.S):
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
    assert {name: bad for name, texts in found.items() if (bad := sum(map(unquoted, texts), []))} == {}
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


@pytest.mark.slow
def test_plain_snakemake_runs_no_command_of_a_folders_name(tmp_path, two_sessions):
    output = tmp_path / "o;touch PWN;x $(touch PWN2) 'y' \"z\""
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    command += ["--directory", str(work), "--config", f"bids_dir={two_sessions}", f"output_dir={output}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not [path for path in tmp_path.rglob("PWN*")]
    assert list(output.glob("work/longitudinal/people-*.txt"))
    assert (output / "report/index.html").exists()
