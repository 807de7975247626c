"""The configuration: defaults, a user's file, overrides. One check lists every problem."""

from __future__ import annotations

import copy
import functools
import os
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from cmburden.core import resources, user_text
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file
from cmburden.core.numbers import not_finite
from cmburden.core.stages import BUCKET_STAGES

#: Characters of a message that may quote a whole value.
_MOST_OF_MESSAGE = 500
#: Keys that hold a path, or a list of paths.
_PATHS = (
    *(("cohorts",), ("bids_filter_file",)),
    *(("detect", "model"), ("verify", "model"), ("report", "standard")),
)


def load(overrides: dict | None = None, path: Path | None = None, base: dict | None = None) -> dict:
    """Defaults, then ``base``, the YAML at ``path``, ``overrides``, merged key by key.

    Raises
    ------
    CMBurdenError
        Lists every key that is unknown or has a value that is not allowed.
    """
    config = merge(defaults(), base or {})
    if path is not None:
        config = merge(config, located(read_yaml(path), Path(path).absolute().parent, Path.cwd()))
    config = merge(config, overrides or {})
    check(config)
    problems = list(_disordered(config))
    if problems:
        raise CMBurdenError("config: " + "; ".join(problems))
    return config


#: Lists of numbers that rise: each above the one before, or none below.
_RISING = (
    ("index", "echo_time_ms", False),
    ("longitudinal", "bins", True),
    ("report", "bins", True),
    ("report", "age_bands", True),
)


def _disordered(config: dict) -> Iterator[str]:
    """A sentence for each group of numbers of a valid ``config`` that is in the wrong order."""
    thresholds = config["verify"]["thresholds"] or {}
    if thresholds.get("possible", 0) > thresholds.get("definite", 1):
        yield "verify.thresholds: possible must not be above definite"
    for section, name, strictly in _RISING:
        values = config[section][name]
        if any(low > high or (strictly and low == high) for low, high in pairwise(values)):
            yield f"{section}.{name}: give rising numbers, not {values}"
    preprocess = config["preprocess"]
    if preprocess["min_brain_ml"] > preprocess["max_brain_ml"]:
        yield "preprocess: min_brain_ml must not be above max_brain_ml"


def of_stage(config: dict, stage: str) -> dict:
    """Settings of ``stage``: its section, and ``precision`` where the stage runs networks."""
    common = {"precision": config["precision"]} if stage in BUCKET_STAGES else {}
    return config[stage] | common


def defaults() -> dict:
    """config/config.yaml."""
    return copy.deepcopy(_installed("config.yaml"))


@functools.cache
def _installed(name: str) -> dict:
    """A YAML file of ``config/``, read once in a process."""
    return read_yaml(resources.root() / "config" / name)


def write(config: dict, path: Path) -> None:
    """Write ``config`` as YAML, in its order: that of index.suffixes says which is preferred."""
    with whole_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def read_yaml(path: Path) -> dict:
    content = user_text.yaml_of(user_text.text_of(Path(path)), str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CMBurdenError(f"{path}: holds no keys; see config/README.md")
    return content


def stored(path: Path) -> dict:
    """The configuration that a run left at ``path``; empty where it cannot be read."""
    try:
        return read_yaml(path)
    except (CMBurdenError, OSError, ValueError):
        return {}


def merge(base: dict, over: dict) -> dict:
    """``over`` merged into ``base`` key by key. What is no dict is replaced.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
        if both and key == "suffixes":
            merged[key] = _ordered(merged[key], base[key], value)
    return merged


def _ordered(merged: dict, base: dict, over: dict) -> dict:
    """``merged`` suffixes in the order of preference.

    Known suffixes that the user names come first, in the user's order. New ones come last.

    >>> base = {"T2starw": "GRE", "swi": "SWI"}
    >>> _ordered({**base, "T2s": "GRE"}, base, {"T2s": "GRE", "swi": "SWI"})
    {'swi': 'SWI', 'T2starw': 'GRE', 'T2s': 'GRE'}
    """
    named = [name for name in over if name in base]
    return {name: merged[name] for name in dict.fromkeys([*named, *base, *over])}


def flat(config: dict, prefix: str = "") -> dict[str, Any]:
    """Values by dotted key. ``suffixes`` is one value: its order counts.

    >>> flat({"a": {"b": 1, "suffixes": {"swi": "SWI"}}, "c": [2]})
    {'a.b': 1, 'a.suffixes': {'swi': 'SWI'}, 'c': [2]}
    """
    values: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value and key != "suffixes":
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def located(config: dict, *folders: Path) -> dict:
    """``config`` with each relative path made absolute by the first of ``folders`` that has it.

    A path that none has stays as it is: it starts at the installation (``resources.root()``), as
    the defaults do. So does a path of the installation itself, which may then move.
    """

    def place(name: Any) -> Any:
        if not isinstance(name, str) or not name or Path(name).is_absolute():
            return name
        for folder in folders:
            path = folder / name
            if path.exists():
                installed = resources.root() / name
                return name if installed.exists() and path.samefile(installed) else str(path)
        return name

    return _with_paths(config, place)


def after_move(config: dict, was: Path, now: Path) -> dict:
    """``config`` of an output folder that was at ``was`` and is at ``now``.

    A path that is gone is looked for at the same place beside the folder.
    """

    def place(name: Any) -> Any:
        return str(moved(Path(name), was, now)) if isinstance(name, str) else name

    return _with_paths(config, place)


def moved(path: Path, was: Path, now: Path) -> Path:
    """Where ``path`` lies after the output folder went from ``was`` to ``now``.

    A path that is there, is relative, or did not move along stays as it is.
    """
    if not path.is_absolute() or path.exists():
        return path
    beside = Path(os.path.normpath(now / os.path.relpath(path, was)))
    return beside if beside.exists() else path


def _with_paths(config: dict, place: Callable[[Any], Any]) -> dict:
    """``config`` with each path replaced by what ``place`` says of it."""
    placed = copy.deepcopy(config)
    for *sections, key in _PATHS:
        branch: Any = placed
        for section in sections:
            branch = branch.get(section) if isinstance(branch, dict) else None
        if isinstance(branch, dict) and key in branch:
            value = branch[key]
            branch[key] = [place(v) for v in value] if isinstance(value, list) else place(value)
    return placed


def check(config: dict, schema: str = "config") -> None:
    rules = _installed(f"schemas/{schema}.schema.yaml")
    problems = sorted({_sentence(e) for e in Draft202012Validator(rules).iter_errors(config)})
    # NaN lies within every range of the schema: no comparison with it is true.
    problems += [f"{key}: give a finite number" for key in not_finite(config)]
    if problems:
        raise CMBurdenError(f"{schema}: " + "; ".join(problems))


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error.absolute_path) or "top level"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        wrong = sorted(set(error.instance) - set(known))
        return f"{key}: unknown key {wrong}, known are {known}"
    described = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    message = error.message
    if len(message) > _MOST_OF_MESSAGE:
        message = f"{message[:_MOST_OF_MESSAGE]} ..."
    return f"{key}: {message}" + (f" ({described})" if described else "")


def cohorts(config: dict) -> list[dict]:
    """The cohort files of ``config``, read and checked."""
    found = []
    for name in config.get("cohorts", []):
        path = Path(name)
        path = path if path.is_absolute() or path.exists() else resources.root() / path
        content = read_yaml(path)
        check(content, "cohort")
        try:
            re.compile(content["participant_pattern"])
        except re.error as error:
            raise CMBurdenError(
                f"{path}: participant_pattern {content['participant_pattern']!r} is no regular "
                f"expression ({error})"
            ) from None
        found.append(content)
    return found
