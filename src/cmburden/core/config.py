"""The configuration: defaults, a user's file, overrides. One check lists every problem."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from cmburden.core import resources
from cmburden.core.errors import CMBurdenError


def load(overrides: dict | None = None, path: Path | None = None) -> dict:
    """config/config.yaml, then the YAML at ``path``, then ``overrides``, merged key by key.

    Raises
    ------
    CMBurdenError
        Lists every key that is unknown or has a value that is not allowed.
    """
    config = defaults()
    if path is not None:
        config = merge(config, read_yaml(path))
    config = merge(config, overrides or {})
    check(config)
    thresholds = config["verify"]["thresholds"] or {}
    if thresholds.get("possible", 0) > thresholds.get("definite", 1):
        raise CMBurdenError("config: verify.thresholds: possible must not be above definite")
    return config


def defaults() -> dict:
    """config/config.yaml."""
    return read_yaml(resources.root() / "config" / "config.yaml")


def write(config: dict, path: Path) -> None:
    """Write ``config`` as YAML, in its order: that of index.suffixes says which is preferred."""
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def read_yaml(path: Path) -> dict:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise CMBurdenError(f"{path}: there is no such file; name an existing one") from None
    except yaml.YAMLError as error:
        raise CMBurdenError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CMBurdenError(f"{path}: holds no keys; see config/README.md")
    return content


def merge(base: dict, over: dict) -> dict:
    """``over`` merged into ``base`` key by key. ``suffixes`` and all that is no dict is replaced.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict) and key != "suffixes"
        merged[key] = merge(base[key], value) if both else value
    return merged


def check(config: dict, schema: str = "config") -> None:
    rules = read_yaml(resources.root() / "config" / "schemas" / f"{schema}.schema.yaml")
    problems = sorted({_sentence(e) for e in Draft202012Validator(rules).iter_errors(config)})
    if problems:
        raise CMBurdenError(f"{schema}: " + "; ".join(problems))


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error.absolute_path) or "top level"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        wrong = sorted(set(error.instance) - set(known))
        return f"{key}: unknown key {wrong}, known are {known}"
    described = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    return f"{key}: {error.message}" + (f" ({described})" if described else "")


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
