"""The report's section on review: confirmed lesions, agreement of readers, and disputed lesions."""

from __future__ import annotations

import json
from typing import Any

from cmburden.core.paths import Layout
from cmburden.core.rows import plain
from cmburden.core.tables import REVIEWED
from cmburden.report.tables import ReportTables

#: A measure of `summary` after ``review ``: its words in the report, and whether it is a share.
_FIGURES = {
    "ppv": ("Of definite lesions, microbleeds (PPV)", True),
    "ppv possible": ("Of possible lesions, microbleeds", True),
    "sensitivity": ("Scans with a microbleed called so (sensitivity)", True),
    "specificity": ("Scans without one called so (specificity)", True),
    "lesion sensitivity": ("Microbleeds that the software calls definite", True),
    "false positives per scan": ("Definite lesions a scan that are none", False),
    "presence": ("Scans with a microbleed after review", True),
}
_AGREEMENT = {
    "kappa presence: ": "Presence, kappa",
    "weighted kappa bins: ": "Count bins, weighted kappa",
    "icc count: ": "Count, ICC(2,1)",
}
#: Most rows of the table of disputed lesions; all stand in `reviewed`.
_MOST_ROWS = 200


def context(tables: ReportTables, layout: Layout) -> dict[str, Any] | None:
    """The variable ``review`` of ``_review.html.j2``; None if nobody reviewed the cohort."""
    progress = {
        name: tables.estimate("all", f"review {name}")
        for name in ("scans reviewed", "lesions settled", "lesions disputed", "lesions added")
    }
    if not progress["scans reviewed"]["denominator"]:
        return None
    places = REVIEWED.read(layout.table("reviewed"))
    disputed = [_disputed(row) for row in places[places["settled"] == "disputed"].itertuples()]
    readers = sorted({name for votes in places["votes"] for name in json.loads(votes)})
    return {
        "readers": readers,
        "progress": progress,
        "contrasts": [_of_contrast(tables, name, stratum) for name, stratum in tables.contrasts()],
        "agreement": _agreement(tables),
        "disputed": disputed[:_MOST_ROWS],
        "disputed_left": max(0, len(disputed) - _MOST_ROWS),
    }


def _of_contrast(tables: ReportTables, name: str, stratum: str) -> dict[str, Any]:
    rows = []
    for measure, (words, share) in _FIGURES.items():
        row = tables.estimate(stratum, f"review {measure}")
        if row["denominator"]:
            rows.append(row | {"words": words, "share": share})
    return {"name": name, "rows": rows}


def _agreement(tables: ReportTables) -> list[dict[str, Any]]:
    """A row a pair of readers with kappas and ICC; the pairs with the software come last."""
    pairs: dict[str, dict[str, Any]] = {}
    for (stratum, measure), row in tables.estimates.items():
        for prefix, words in _AGREEMENT.items():
            if stratum == "all" and measure.startswith(f"review {prefix}"):
                pair = measure.removeprefix(f"review {prefix}")
                pairs.setdefault(pair, {"pair": pair, "scans": row})[words] = row
    return sorted(pairs.values(), key=lambda p: (p["pair"].endswith("software"), p["pair"]))


def _disputed(row: Any) -> dict[str, Any]:
    """A disputed lesion in words; ``row`` is a named tuple of `reviewed`."""
    votes = json.loads(row.votes)
    at = (row.x_mm, row.y_mm, row.z_mm)
    return {
        "participant": row.participant_id,
        "scan_id": row.scan_id,
        "place": ", ".join(f"{v:.0f}" for v in at),
        "region": f"{plain(row.hemisphere) or ''} {plain(row.region) or ''}".strip(),
        "label": plain(row.label) or "not seen",
        "votes": "; ".join(f"{reader}: {vote}" for reader, vote in votes.items()),
    }
