"""Writes ``onboard.tsv``, a row a series of the download, and ``onboard.json``, the numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmburden import __version__
from cmburden.core.files import sha256_of_file
from cmburden.core.text import natural
from cmburden.onboard.dataset import json_if_new, tsv, write_if_new
from cmburden.onboard.parts import Image, Passed, Request, Source, Told
from cmburden.onboard.paths import Onboarded

HEADER = (
    *("place", "participant", "session", "date", "uid", "image_id", "series_id", "description"),
    *("n_files", "rule", "image", "reason", "remark"),
)
#: Endings of tables whose checksums are noted.
_TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".xml", ".yaml", ".yml")


def write_table(
    paths: Onboarded,
    images: Sequence[Image],
    passed: Sequence[Passed],
    remarks: Mapping[str, str] | None = None,
) -> None:
    """Write the table of series: images by name, or the reason why there is none.

    ``remarks`` has sentences on images by scan_id.
    """
    told = remarks or {}
    by_source: dict[int, list[Image]] = defaultdict(list)
    for image in images:
        by_source[id(image.source)].append(image)
    rows = []
    for of_source in by_source.values():
        first = of_source[0]
        names = " ".join(sorted((image.scan_id for image in of_source), key=natural))
        said = [told[image.scan_id] for image in of_source if image.scan_id in told]
        row = _row(first.source, first.rule, names, "", first.session_id)
        rows.append([*row[:-1], "; ".join(filter(None, [row[-1], *said]))])
    for one in passed:
        if one.source is not None:
            rows.append(_row(one.source, one.rule, "", one.reason, None))
        else:
            bare = Source(one.place, (), one.participant)
            rows.append(_row(bare, one.rule, "", one.reason, None))
    rows.sort(key=lambda row: (natural(row[0]), row))
    write_if_new(paths.table, tsv(HEADER, rows))


def _row(
    source: Source, rule: str | None, names: str, reason: str, session: str | None
) -> list[str]:
    return [
        source.place,
        source.participant,
        session or "",
        source.date or "",
        source.uid or "",
        source.image_id or "",
        source.series_id or "",
        str(source.header.get("SeriesDescription", "")),
        str(len(source.files)) if source.files else "",
        rule or "",
        names,
        reason,
        source.remark,
    ]


def write_record(
    paths: Onboarded,
    request: Request,
    images: Sequence[Image],
    passed: Sequence[Passed],
    told: Told,
    *,
    notes: str,
    truth: Mapping[str, Any],
) -> None:
    """Write numbers, levels seen and checksums; nothing of a person."""
    json_if_new(
        paths.record,
        {
            "version": __version__,
            "cohort": request.cohort,
            "sources": sorted(path.name for path in request.sources),
            "terms": notes,
            "numbers": {
                "participants": len({image.participant_id for image in images}),
                "sessions": len({(image.participant_id, image.session_id) for image in images}),
                "images": len(images),
                "by_suffix": dict(sorted(Counter(image.suffix for image in images).items())),
                "series_without_image": len(passed),
            },
            "rules": by_rule(images, passed),
            "levels": {column: dict(levels) for column, levels in told.seen.items()},
            "counted": dict(told.counted),
            "remarks": list(told.remarks),
            "tables": checksums(request),
            "truth": dict(truth),
        },
    )


def by_rule(images: Sequence[Image], passed: Sequence[Passed]) -> dict[str, int]:
    """Number of series by rule; a series with several images counts once."""
    sources = {id(image.source): image.rule for image in images}
    rules = [*sources.values(), *(one.rule or "none" for one in passed if one.source is not None)]
    return dict(sorted(Counter(rules).items()))


def checksums(request: Request) -> dict[str, str]:
    """SHA-256 of each table that the command was given, by its name."""
    given = [path for path in (request.lesions, request.counts, request.rules) if path is not None]
    files = [file for path in (*given, *request.tables) for file in tables_of(path)]
    return {path.name: sha256_of_file(path) for path in sorted(set(files))}


def tables_of(path: Path) -> list[Path]:
    """``path`` itself, or the tables in the folder ``path``."""
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix.lower() in _TABLES and p.is_file())
    return [path] if path.is_file() else []
