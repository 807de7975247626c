"""One set of pins: the lock, what pyproject asks for, the conda file and the containers agree."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
ENVS = ROOT / "envs"


SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"


def named(requirement: str) -> str:
    return re.split(r"[\s<>=!~\[;]", requirement)[0].lower().replace("_", "-").replace(".", "-")


def locked(name: str) -> dict[str, tuple[str, str, frozenset[str]]]:
    """Version, condition and checksums of each pin of a lock; nothing else stands in it."""
    text = (ENVS / name).read_text().replace(" \\\n", " ")
    pins = {}
    for line in text.splitlines():
        pin = re.fullmatch(
            r"([\w.-]+)==([\w.+!]+)( ; [^\\]+?)?((?: +--hash=sha256:[0-9a-f]{64})+)", line
        )
        assert pin, line
        assert named(pin[1]) not in pins, line
        pins[named(pin[1])] = (pin[2], pin[3] or "", frozenset(pin[4].split()))
    return pins


def test_each_lock_holds_what_is_asked_for_with_checksums():
    runtime, development = locked(RUNTIME), locked(DEVELOPMENT)
    groups = SETTINGS["dependency-groups"]
    needed = {named(d) for d in SETTINGS["project"]["dependencies"] + groups["build"]}
    tools = {named(d) for d in groups["dev"]}
    assert {"torch", "pip", "hatchling"} <= needed <= set(runtime)
    assert {"pytest", "ruff", "uv"} <= tools <= set(development)
    # What a user installs holds none of the tools.
    assert not tools & set(runtime)
    # What is developed with is what users run. (A tool may need a package where users do not.)
    for name, (version, _, checksums) in runtime.items():
        assert (development[name][0], development[name][2]) == (version, checksums), name


def test_versions_are_within_bounds():
    versions = locked(DEVELOPMENT)
    for requirement in SETTINGS["project"]["dependencies"]:
        bound = re.fullmatch(r"[\w-]+>=([\d.]+)", requirement)
        assert bound, requirement
        number = tuple(map(int, re.findall(r"\d+", versions[named(requirement)][0])))
        assert number >= tuple(map(int, bound[1].split("."))), requirement
    # Older ones ran code of files that they were asked to read as tensors alone (CVE-2026-24747).
    torch = next(d for d in SETTINGS["project"]["dependencies"] if named(d) == "torch")
    assert tuple(map(int, torch.split(">=")[1].split("."))) >= (2, 10)


def test_conda_and_containers_take_their_pins_from_the_lock():
    conda = (ENVS / "environment.yaml").read_text()
    assert f"-r {RUNTIME}" in conda
    assert "python=3.11" in conda
    # No second set of versions: the recipes install with `make`, which reads the lock.
    for recipe in ("Dockerfile", "apptainer.def"):
        text = (ENVS / recipe).read_text()
        assert "python:3.11" in text
        assert "make install" in text
        assert "==" not in text


def test_make_installs_nothing_without_a_checksum():
    text = (ROOT / "Makefile").read_text()
    installs = [line for line in text.splitlines() if re.search(r"\bpip\b.* install\b", line)]
    assert len(installs) == 5
    # PyTorch for processors alone has other files than those of the lock (docs/install.md).
    unchecked = [line for line in installs if "--require-hashes" not in line]
    assert len(unchecked) == 2
    assert "--no-deps --no-build-isolation -e ." in unchecked[0]
    assert '--no-deps --index-url "$(TORCH_INDEX)"' in unchecked[1]
    for lock in (RUNTIME, DEVELOPMENT):
        assert f"$(call INSTALL,envs/{lock})" in text
        assert f"-o envs/{lock}" in text


def test_without_a_gpu_nothing_of_nvidia_is_installed():
    pattern = re.search(r"keep = !/(.+)/}", (ROOT / "Makefile").read_text())
    assert pattern
    left = [name for name in locked(RUNTIME) if not re.match(pattern[1], f"{name}==1")]
    assert {"numpy", "ultralytics", "pip"} <= set(left)
    assert not [name for name in left if re.match("torch|triton|nvidia|cuda", name)]


def test_pythons_that_are_allowed_are_one_set():
    wanted = SETTINGS["project"]["requires-python"]
    classifiers = {c.split(" :: ")[-1] for c in SETTINGS["project"]["classifiers"]}
    assert wanted == ">=3.11,<3.14"
    assert {"3.11", "3.12", "3.13"} <= classifiers
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (ROOT / "Makefile").read_text()


def test_the_image_has_what_git_has_and_no_tools():
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "demo", "work"} <= set(ignored)
    last = (ENVS / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert not re.search(r"\b(git|make|gcc|build-essential)\b", last)
    assert 'ENTRYPOINT ["cmburden"]' in last


def test_the_container_does_not_run_as_root():
    lines = (ENVS / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")


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
