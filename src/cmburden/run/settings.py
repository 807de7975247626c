"""Settings of an output folder. Each command starts from those of the run before.

Precedence: defaults, the folder's settings (``work/config.yaml``), ``--config-file``, ``--set`` and
the other options of the command. Relative paths of an option start at the working folder, those of
a file at the file's folder; a path that is in neither is one of the installation.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from cmburden.core import config as configuration
from cmburden.core.errors import CMBurdenError
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout

#: Keys that belong to one command. No later command takes them over.
OF_ONE_COMMAND = ("analysis_level", "participant_label", "session_label")
#: Keys that arguments of the command give.
_PLACES = ("bids_dir", "output_dir")
#: Keys that may be absent from a value that is no dict by default.
_FREE = ("index.suffixes", "verify.thresholds")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The whole configuration of a command, and that of the folder's last run.

    Attributes
    ----------
    config : dict
        With every default, checked.
    before : dict or None
        The folder's settings; None for a new folder.
    retired : tuple of str
        Keys of the folder's settings that this version does not know.
    """

    config: dict[str, Any]
    before: dict[str, Any] | None = None
    retired: tuple[str, ...] = ()

    def kept(self) -> dict[str, Any]:
        """What the folder keeps of ``config``: all but the keys of one command."""
        return self.config | {key: configuration.defaults()[key] for key in OF_ONE_COMMAND}

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Dotted key -> value of the last run and of this one, where they differ."""
        if self.before is None:
            return {}
        return _differences(self.before, self.config)

    def notes(self) -> list[str]:
        """Sentences for the user: which settings are the folder's, and which have changed."""
        if self.before is None:
            return []
        lines = []
        if self.retired:
            lines.append(
                f"settings of the last run that this version does not know, left out: "
                f"{', '.join(self.retired)}"
            )
        changed = self.differences()
        own = {
            key: here
            for key, (_, here) in _differences(configuration.defaults(), self.config).items()
            if key not in changed and key not in _PLACES
        }
        if own:
            lines.append(f"settings of this folder, from its last run: {_as_options(own)}")
        if changed:
            texts = [f"{k}={_text(now)} (was {_text(was)})" for k, (was, now) in changed.items()]
            lines.append(f"settings that differ from the last run: {'; '.join(texts)}")
        return lines


def of(
    layout: Layout,
    overrides: dict[str, Any],
    file: Path | None = None,
    *,
    forget: bool = False,
) -> Settings:
    """Settings of a command on the folder ``layout``. With ``forget``, defaults stand for its own.

    Raises
    ------
    CMBurdenError
        If a key is unknown or has a value that is not allowed, or the folder's settings cannot be
        read.
    """
    before, retired = _of_folder(layout, forget)
    base = {} if forget or before is None else before
    overrides = configuration.located(overrides, Path.cwd())
    return Settings(_loaded(layout, overrides, file, base), before, retired)


def of_run(layout: Layout) -> dict[str, Any]:
    """The configuration of the run at work, or of the last one; defaults for what is not there."""
    return _first(layout.run_config, layout.config)


def of_tables(layout: Layout) -> dict[str, Any]:
    """The folder's settings as they are stored; defaults for what is not there."""
    return _first(layout.config, layout.run_config)


def _first(*paths: Path) -> dict[str, Any]:
    """The first of the files ``paths`` that can be read, upon the defaults."""
    for path in paths:
        try:
            return configuration.merge(configuration.defaults(), configuration.read_yaml(path))
        except (CMBurdenError, OSError, UnicodeDecodeError):
            continue
    return configuration.defaults()


def _loaded(
    layout: Layout, overrides: dict[str, Any], file: Path | None, base: dict[str, Any]
) -> dict[str, Any]:
    try:
        return configuration.load(overrides, file, base)
    except CMBurdenError as error:
        try:
            configuration.load(overrides, file)
        except CMBurdenError:
            raise error from None  # the command's own mistake
        raise CMBurdenError(
            f"{error}; the value is remembered in {layout.config}: give another with --set, or "
            "--forget-settings for the defaults"
        ) from None


def _of_folder(layout: Layout, forget: bool) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The folder's settings without keys of one command, and the keys that are no longer known."""
    if not layout.config.exists():
        return None, ()
    try:
        stored = configuration.read_yaml(layout.config)
    except (CMBurdenError, UnicodeDecodeError) as error:
        if forget:
            return None, ()
        raise CMBurdenError(
            f"{layout.config}: the settings of the last run cannot be read "
            f"({' '.join(str(error).split())}); run with --forget-settings, and give with --set "
            "what is not a default"
        ) from None
    known, retired = _known(stored, configuration.defaults())
    was = known.get("output_dir")
    if was:
        known = configuration.after_move(known, Path(was), layout.root.absolute())
    for key in OF_ONE_COMMAND:
        known.pop(key, None)
    return known, tuple(retired)


def _known(
    stored: dict[str, Any], defaults: dict[str, Any], prefix: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """``stored`` without the keys that ``defaults`` lacks, and those keys."""
    known: dict[str, Any] = {}
    retired: list[str] = []
    for key, value in stored.items():
        name = f"{prefix}{key}"
        if key not in defaults:
            retired.append(name)
        elif isinstance(defaults[key], dict) and isinstance(value, dict) and name not in _FREE:
            known[key], further = _known(value, defaults[key], f"{name}.")
            retired += further
        else:
            known[key] = value
    return known, retired


def _differences(before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys with other values. Keys of one command and of places do not count.

    A key that ``before`` lacks had its default.
    """
    whole = configuration.merge(configuration.defaults(), before)
    was, here = configuration.flat(whole), configuration.flat(now)
    skipped = (*OF_ONE_COMMAND, *_PLACES)
    return {
        key: (was.get(key), here.get(key))
        for key in sorted(was.keys() | here.keys())
        if key not in skipped and not _same(was.get(key), here.get(key))
    }


def _same(one: Any, other: Any) -> bool:
    """Equal values; of dictionaries, in the same order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one.items()) == list(other.items())
    return bool(one == other)


def _as_options(values: dict[str, Any]) -> str:
    return "; ".join(f"{key}={_text(value)}" for key, value in values.items())


def _text(value: Any) -> str:
    """A value as ``--set`` takes it.

    >>> _text(None), _text([1, "a"]), _text("A title")
    ('null', '[1, a]', 'A title')
    """
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


# --- the BIDS folder ---


def check_bids_dir(layout: Layout, settings: Settings, *, other: bool = False) -> str | None:
    """Refuse another BIDS folder than that of the last run; returns a sentence if it has moved.

    A folder has moved if the former one is gone and the new one holds a scan of the manifest.
    ``other``: the user wants another folder.

    Raises
    ------
    CMBurdenError
        If the folder is another one.
    """
    if settings.before is None or not settings.before.get("bids_dir"):
        return None
    was, now = Path(settings.before["bids_dir"]), Path(settings.config["bids_dir"])
    moved_along = _moved_along(settings, layout, was)
    if was == now or moved_along == now or not now.is_dir() or other:
        return None
    if was.exists() and now.samefile(was):
        return None
    if not was.exists() and _holds_a_scan(layout, now):
        return f"the BIDS folder of the last run was {was}; it is taken to have moved to {now}"
    raise CMBurdenError(
        f"{layout.root} holds results of another BIDS folder, {was}; name that one, or another "
        f"output folder, or add --other-bids-dir if {now} is to take its place"
    )


def _moved_along(settings: Settings, layout: Layout, was: Path) -> Path | None:
    """The former BIDS folder, if it and the output folder moved together."""
    before = settings.before or {}
    if not before.get("output_dir") or was.exists():
        return None
    return configuration.moved(was, Path(before["output_dir"]), layout.root.absolute())


def _holds_a_scan(layout: Layout, bids: Path) -> bool:
    if not layout.manifest.exists():
        return True
    try:
        scans = read_scans(layout.manifest, bids)
    except (OSError, ValueError, KeyError):
        return True
    return not scans or any(scan.path.exists() or scan.path.is_symlink() for scan in scans)
