"""Chooses a participant's scans among the images. Each other image gets a reason."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cmburden.core.text import natural
from cmburden.index import kinds
from cmburden.index.filters import Filter, filters_of, labels_of, passes
from cmburden.index.names import BidsFile, Rejection
from cmburden.index.sidecars import Sidecar
from cmburden.index.values import echo_time


@dataclasses.dataclass(frozen=True)
class Rules:
    """Rules of the choice: config ``index``, session labels and the filter file.

    ``suffixes`` are suffix -> contrast, in the order of preference. ``sessions`` are the labels
    that the user asked for; an empty set means all sessions. An echo time in the range
    ``echo_time_ms`` is preferred.
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
        searched = {name: contrast for name, contrast in settings["suffixes"].items() if contrast}
        return cls(
            suffixes=searched,
            echo_time_ms=settings["echo_time_ms"],
            require_t1w=settings["require_t1w"],
            sessions=frozenset(labels_of(config, "session_label")),
            scan_filter=filters.get("t2starw", {}),
            t1w_filter=filters.get("t1w", {}),
        )

    def preference(self, image: BidsFile) -> tuple[int, int, str]:
        """Sort key of images: the earlier suffix of the configuration, then the place."""
        return list(self.suffixes).index(image.suffix), *image.place


@dataclasses.dataclass(frozen=True)
class ChosenScan:
    """An image that is a scan, its sidecar, and the T1w that goes with it."""

    image: BidsFile
    sidecar: Sidecar
    t1w: BidsFile | None


def choose(
    images: Sequence[BidsFile], rules: Rules, read_sidecar: Callable[[BidsFile], Sidecar]
) -> tuple[list[ChosenScan], list[Rejection]]:
    """Scans among one participant's ``images``, and the rejections of all others.

    One of several reconstructions and echoes of a scan is chosen. Only sidecars of possible scans
    are read.
    """
    possible, rejected = _possible(images, rules, read_sidecar)
    scans = []
    for reconstructions in _groups(possible, "echo", "rec"):
        series = _groups(reconstructions, "echo")
        used = min(series, key=_least_altered)
        best = _best_echo(used, rules.echo_time_ms)
        for scan in reconstructions:
            if scan is best:
                continue
            if scan in used:
                reason = "echo_not_chosen"
                fact = f"Echo {scan.image.echo} is not the one searched: {best.image.path} is."
            else:
                reason, fact = (
                    "rec_not_chosen",
                    f"The reconstruction {best.image.path} is used.",
                )
            rejected.append(rejection_of(scan.image, reason, fact))
        if rules.require_t1w and best.t1w is None:
            fact = "The participant has no T1w and index.require_t1w is on."
            rejected.append(rejection_of(best.image, "filtered", fact))
        else:
            scans.append(best)
    return scans, rejected


def rejection_of(image: BidsFile, reason: str, fact: str) -> Rejection:
    return Rejection(image.path, reason, fact, image.session)


def possible_scans(images: Iterable[BidsFile], rules: Rules) -> list[BidsFile]:
    """Images that are possible scans by their names, one for all echoes and reconstructions."""
    possible: dict[tuple, BidsFile] = {}
    for image in sorted(images, key=lambda image: image.path):
        if _verdict_by_name(image, rules) is None and kinds.part_of(image) in (None, "mag"):
            possible.setdefault((image.folder, *_without(image, "echo", "rec")), image)
    return list(possible.values())


def _possible(
    images: Sequence[BidsFile], rules: Rules, read_sidecar: Callable[[BidsFile], Sidecar]
) -> tuple[list[ChosenScan], list[Rejection]]:
    """Images that are scans by name and sidecar, with all echoes, and the other images' reasons."""
    t1w = [i for i in images if i.suffix == "T1w" and kinds.part_of(i) in (None, "mag")]
    t1w = [i for i in t1w if passes(i, rules.t1w_filter)]
    possible: dict[str, ChosenScan] = {}
    rejected: list[Rejection] = []
    for image in sorted(images, key=lambda image: image.place):
        verdict = _verdict_by_name(image, rules)
        if verdict is not None:
            rejected.append(rejection_of(image, *verdict))
            continue
        sidecar = read_sidecar(image)
        verdict = kinds.verdict_by_sidecar(image, sidecar.fields)
        if verdict is None and image.scan_id in possible:
            verdict = "duplicate", f"Same name as {possible[image.scan_id].image.path}."
        if verdict is not None:
            rejected.append(rejection_of(image, *verdict))
            continue
        possible[image.scan_id] = ChosenScan(image, sidecar, _nearest_session(t1w, image))
    return list(possible.values()), rejected


def _verdict_by_name(image: BidsFile, rules: Rules) -> kinds.Verdict | None:
    """Reason and fact if an image is rejected by its name or the user's filters."""
    verdict = kinds.verdict_by_name(image, rules.suffixes)
    if verdict is not None:
        return verdict
    if rules.sessions and image.session not in rules.sessions:
        return "filtered", "Another session was asked for."
    if not passes(image, rules.scan_filter):
        return "filtered", "The BIDS filter file leaves it out."
    return None


def _without(image: BidsFile, *entities: str) -> tuple:
    """All of the name but the ``entities``."""
    kept = tuple(pair for pair in image.entities if pair[0] not in entities)
    return kept, image.loose, image.suffix


def _groups(scans: Iterable[ChosenScan], *entities: str) -> list[list[ChosenScan]]:
    """Groups of scans that differ in the ``entities`` only."""
    groups: dict[tuple, list[ChosenScan]] = defaultdict(list)
    for scan in scans:
        groups[_without(scan.image, *entities)].append(scan)
    return list(groups.values())


def _least_altered(series: Sequence[ChosenScan]) -> tuple[bool, bool, tuple]:
    """Sort key of reconstructions: one without ``rec-`` first, then a normalised one.

    Scanners name what they did to an image besides reconstructing it. The image without a name is
    the one that other participants have too, and the one that the phase goes with.
    """
    image = series[0].image
    reconstruction = image.entity("rec")
    normalised = reconstruction is not None and "norm" in reconstruction.lower()
    return reconstruction is not None, not normalised, natural(image.scan_id)


def _best_echo(echoes: Sequence[ChosenScan], within_ms: Sequence[float]) -> ChosenScan:
    """The longest echo time in the range, else the longest one; without times, the last echo."""

    def rank(scan: ChosenScan) -> tuple[bool, float, int, str]:
        seconds, _ = echo_time(scan.sidecar.fields.get("EchoTime"))
        return echo_rank(seconds, scan.image.echo, scan.image.scan_id, within_ms)

    return max(echoes, key=rank)


def echo_rank(
    seconds: float | None, echo: str | None, scan_id: str, within_ms: Sequence[float]
) -> tuple[bool, float, int, str]:
    """Sort key of an echo of a scan: the greatest is searched.

    ``seconds`` is the time of echo, ``echo`` the entity of the name.
    """
    inside = seconds is not None and within_ms[0] <= seconds * 1000 <= within_ms[1]
    order = int(echo) if echo and echo.isdecimal() else 0
    return inside, seconds if seconds is not None else -1.0, order, scan_id


def _nearest_session(t1w: Iterable[BidsFile], image: BidsFile) -> BidsFile | None:
    """The T1w of the image's session, else the participant's first T1w of another session."""
    return min(t1w, key=lambda i: (i.session != image.session, i.path), default=None)
