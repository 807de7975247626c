"""One set of pins: the lock, what pyproject asks for, the conda file and the containers agree."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
ENVS = ROOT / "envs"


def named(requirement: str) -> str:
    return re.split(r"[\s<>=!~\[;]", requirement)[0].lower().replace("_", "-")


def locked() -> dict[str, str]:
    lines = (ENVS / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", pin) for pin in pins)
    return {named(pin): pin.split("==")[1] for pin in pins}


def test_the_lock_holds_every_dependency_and_tool_once():
    lines = (ENVS / "requirements.lock").read_text().split()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    dependencies, tools = settings["project"]["dependencies"], settings["dependency-groups"]["dev"]
    assert {"torch", "pytest"} <= {named(d) for d in dependencies + tools} <= set(locked())
    assert len(lines) == len(locked())


def test_conda_and_containers_take_their_pins_from_the_lock():
    conda = (ENVS / "environment.yaml").read_text()
    assert "-r requirements.lock" in conda
    assert "python=3.11" in conda
    # No second set of versions: the recipes install with `make`, which reads the lock.
    for recipe in ("Dockerfile", "apptainer.def"):
        text = (ENVS / recipe).read_text()
        assert "python:3.11" in text
        assert "make install" in text
        assert "==" not in text
    assert "envs/requirements.lock" in (ROOT / "Makefile").read_text()


def test_hooks_fetch_nothing():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert len(hooks) == 7
    assert {hook["language"] for hook in hooks} == {"system"}
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks)


def test_the_wheel_leaves_out_the_rooms_above_the_command_line():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    floors = settings["importlinter"]["contracts"][0]["layers"]
    above = floors[: floors.index("run")]
    excluded = settings["hatch"]["build"]["targets"]["wheel"]["exclude"]
    assert {Path(folder).name for folder in excluded} == set(above) == {"studies", "benchmarks"}
    assert all((ROOT / folder).is_dir() for folder in excluded)
