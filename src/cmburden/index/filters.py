"""What the user asked for: labels of participants and sessions, and the BIDS filter file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cmburden.core import user_text
from cmburden.core.errors import CMBurdenError
from cmburden.index.names import BidsFile

#: Names that filter files may use for an entity.
_LONG_NAMES = {"session": "ses", "acquisition": "acq", "reconstruction": "rec", "subject": "sub"}
#: Keys of a filter file that are ignored, since every image here has the same value.
_IGNORED_FILTERS = ("datatype", "extension")

Filter = Mapping[str, Any]


def passes(image: BidsFile, wanted: Filter) -> bool:
    """Whether ``image`` has the entities of the filter ``wanted``. The value None means: absent.

    >>> scan = BidsFile("sub-1/anat/sub-1_swi.nii", "sub-1", "sub-1_swi", "swi", (("acq", "a"),))
    >>> passes(scan, {"acquisition": ["a", "b"]}), passes(scan, {"session": "1"})
    (True, False)
    """
    entities = dict(image.entities) | {"suffix": image.suffix}
    for key, value in wanted.items():
        if key in _IGNORED_FILTERS:
            continue
        allowed = value if isinstance(value, list) else [value]
        got = entities.get(_LONG_NAMES.get(key, key))
        if got not in [None if v is None else str(v) for v in allowed]:
            return False
    return True


def filters_of(path: Path | str | None) -> dict[str, Filter]:
    """Content of a BIDS filter file: filters of ``t2starw`` (scans) and ``t1w``; {} if no file."""
    if not path:
        return {}
    content = user_text.json_of(user_text.text_of(Path(path)), str(path))
    if not isinstance(content, dict) or not all(
        isinstance(value, dict) for value in content.values()
    ):
        raise CMBurdenError(
            f'{path}: write it as {{"t2starw": {{"acquisition": "highres"}}}}; see config/README.md'
        )
    unknown = sorted(set(content) - {"t2starw", "t1w"})
    if unknown:
        raise CMBurdenError(f"{path}: unknown keys {unknown}; known are ['t1w', 't2starw']")
    return content


def labels_of(config: dict[str, Any], key: str) -> set[str]:
    """Labels of config ``participant_label`` or ``session_label``, without ``sub-`` or ``ses-``."""
    prefix = "sub-" if key == "participant_label" else "ses-"
    return {str(label).removeprefix(prefix) for label in config.get(key) or []}


def check_labels(
    participants: Iterable[str], sessions: Iterable[str], config: dict[str, Any]
) -> None:
    """Raise CMBurdenError if the user asked for a label that is not in the tree."""
    of_tree = {"participant_label": set(participants), "session_label": set(sessions)}
    for key, labels in of_tree.items():
        unknown = sorted(labels_of(config, key) - labels)
        if unknown:
            some = ", ".join(sorted(labels)[:5]) or "none"
            raise CMBurdenError(f"{key}: {unknown} are not in the tree; it has {some} ...")
