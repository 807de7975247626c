"""Chooses a participant's scans among the images. Each other image of GRE or SWI gets a reason."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError
from cmburden.index.tree import BidsFile, number, suffixes_of

#: Suffixes of GRE and SWI. An image with one that ``index.suffixes`` lacks gets a reason.
RELATED = {"T2starw", "MEGRE", "swi", "SWI", "GRE", "minIP", "mIP", "T2starmap", "Chimap", "T2star"}
#: Names that filter files may use for an entity.
_LONG_NAMES = {"session": "ses", "acquisition": "acq", "reconstruction": "rec", "subject": "sub"}
#: Keys of a filter file that are ignored, since every image here has the same value.
_IGNORED_FILTERS = ("datatype", "extension")

Sidecar = Mapping[str, Any]
Filter = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Rules:
    """Rules of the choice: config ``index``, session labels and the filter file.

    ``sessions`` are the labels that the user asked for; an empty set means all sessions. An echo
    time in the range ``echo_time_ms`` is preferred.
    """

    suffixes: Mapping[str, str]
    echo_time_ms: Sequence[float]
    require_t1w: bool
    sessions: frozenset[str]
    scan_filter: Filter
    t1w_filter: Filter

    @classmethod
    def of(cls, config: dict[str, Any]) -> Rules:
        """Rules of a whole configuration; CMBurdenError if the filter file cannot be used."""
        settings, filters = config["index"], filters_of(config.get("bids_filter_file"))
        return cls(
            suffixes=settings["suffixes"],
            echo_time_ms=settings["echo_time_ms"],
            require_t1w=settings["require_t1w"],
            sessions=frozenset(labels_of(config, "session_label")),
            scan_filter=filters.get("t2starw", {}),
            t1w_filter=filters.get("t1w", {}),
        )


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A file that is no scan: its path, session label, reason code, and the fact behind it."""

    path: str
    session: str | None
    reason: str
    fact: str


@dataclasses.dataclass(frozen=True)
class ChosenScan:
    """An image that is a scan, its sidecar, and the T1w that goes with it."""

    image: BidsFile
    sidecar: Sidecar
    t1w: BidsFile | None


def choose(
    images: Sequence[BidsFile], rules: Rules, read_sidecar: Callable[[BidsFile], Sidecar]
) -> tuple[list[ChosenScan], list[Rejection]]:
    """Scans among one participant's ``images``, and the rejections.

    One of several echoes of a scan is chosen. Only sidecars of possible scans are read.
    """
    possible, rejected = _possible(images, rules, read_sidecar)
    scans = []
    for echoes in _series(possible):
        best = _best_echo(echoes, rules.echo_time_ms)
        for scan in echoes:
            if scan is not best:
                fact = f"Echo {scan.image.echo} is not the one searched."
                rejected.append(_rejection(scan.image, "echo_not_chosen", fact))
        if rules.require_t1w and best.t1w is None:
            fact = "The participant has no T1w and index.require_t1w is on."
            rejected.append(_rejection(best.image, "filtered", fact))
        else:
            scans.append(best)
    if not scans:
        fact = f"No usable GRE or SWI scan; the images are {suffixes_of(images)}."
        rejected.append(Rejection(f"sub-{images[0].subject}", None, "no_scan", fact))
    return scans, rejected


def _rejection(image: BidsFile, reason: str, fact: str) -> Rejection:
    return Rejection(image.path, image.session, reason, fact)


def _possible(
    images: Sequence[BidsFile], rules: Rules, read_sidecar: Callable[[BidsFile], Sidecar]
) -> tuple[list[ChosenScan], list[Rejection]]:
    """Images that are scans by name and sidecar, with all echoes, and the other images' reasons."""
    t1w = [i for i in images if i.suffix == "T1w" and i.may_be_magnitude]
    t1w = [i for i in t1w if passes(i, rules.t1w_filter)]
    possible: dict[str, ChosenScan] = {}
    rejected: list[Rejection] = []
    for image in images:
        verdict = _rejection_by_name(image, rules)
        if verdict is None and image.suffix in rules.suffixes:
            sidecar = read_sidecar(image)
            if image.part is None and _says_phase(sidecar):
                verdict = "part_phase", "Its sidecar's ImageType says phase."
            elif image.stem in possible:
                verdict = "duplicate", f"Same name as {possible[image.stem].image.path}."
            else:
                scan = ChosenScan(image, sidecar, _nearest_session(t1w, image))
                possible[image.stem] = scan
        if verdict is not None:
            rejected.append(_rejection(image, *verdict))
    return list(possible.values()), rejected


def _series(scans: Iterable[ChosenScan]) -> list[list[ChosenScan]]:
    """Groups of scans that differ in the echo only."""
    series: dict[tuple, list[ChosenScan]] = defaultdict(list)
    for scan in scans:
        same = tuple(pair for pair in scan.image.entities if pair[0] != "echo")
        series[same, scan.image.suffix].append(scan)
    return list(series.values())


def _rejection_by_name(image: BidsFile, rules: Rules) -> tuple[str, str] | None:
    """Reason and fact if an image is rejected by its name and gets a row; None otherwise."""
    if image.suffix not in rules.suffixes:
        if image.suffix in RELATED or "/swi/" in image.path:
            return "wrong_suffix", f"Suffix {image.suffix} is not searched."
        return None
    if rules.sessions and image.session not in rules.sessions:
        return "filtered", "Another session was asked for."
    if not passes(image, rules.scan_filter):
        return "filtered", "The BIDS filter file leaves it out."
    if not image.may_be_magnitude:
        return "part_phase", f"It is part-{image.part}."
    return None


def _says_phase(sidecar: Sidecar) -> bool:
    """Whether ImageType names phase ('P' or PHASE) and not magnitude ('M')."""
    kind = str(sidecar.get("ImageType", "")).upper()
    return ("PHASE" in kind or "'P'" in kind) and "'M'" not in kind


def _best_echo(echoes: Sequence[ChosenScan], within_ms: Sequence[float]) -> ChosenScan:
    """The longest echo time in the range, else the longest one; without times, the last echo."""

    def rank(scan: ChosenScan) -> tuple[bool, float, int, str]:
        time = number(scan.sidecar.get("EchoTime"))
        inside = time is not None and within_ms[0] <= time * 1000 <= within_ms[1]
        echo = scan.image.echo or ""
        order = int(echo) if echo.isdigit() else 0
        return inside, time if time is not None else -1.0, order, scan.image.stem

    return max(echoes, key=rank)


def _nearest_session(t1w: Iterable[BidsFile], image: BidsFile) -> BidsFile | None:
    """The T1w of the image's session, else the participant's first T1w of another session."""
    return min(t1w, key=lambda i: (i.session != image.session, i.path), default=None)


# --- filters and labels ---


def passes(image: BidsFile, wanted: Filter) -> bool:
    """Whether ``image`` has the entities of the filter ``wanted``. The value None means: absent.

    >>> scan = BidsFile("sub-1/anat/sub-1_acq-a_swi.nii", ".nii", "swi", (("acq", "a"),))
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
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CMBurdenError(f"{path}: there is no such BIDS filter file") from None
    except json.JSONDecodeError as error:
        raise CMBurdenError(f"{path}: not JSON ({error}); see config/README.md") from None
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
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


def check_labels(images: Sequence[BidsFile], config: dict[str, Any]) -> None:
    """Raise CMBurdenError if the user asked for a label that is not in the tree."""
    for key, entity in (("participant_label", "sub"), ("session_label", "ses")):
        labels = {label for image in images if (label := image.entity(entity))}
        unknown = sorted(labels_of(config, key) - labels)
        if unknown:
            some = ", ".join(sorted(labels)[:5]) or "none"
            raise CMBurdenError(f"{key}: {unknown} are not in the tree; it has {some} ...")
