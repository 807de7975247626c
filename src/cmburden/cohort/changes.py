"""From lesions followed over sessions to changes: who was there before whom is decided here, where
the dates of sessions are known.

A lesion is held to be in a session where it was found; where it was not, if it is found both before
and after, or if the score at its place says that it was only missed.
"""

from __future__ import annotations

from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.rows import grouped, plain
from cmburden.core.schema import as_records
from cmburden.core.tables import FOLLOWED_SESSIONS, TRACKS
from cmburden.follow import sessions
from cmburden.summary import bins as summary_bins

#: Columns of a scan that say whether another is like it.
_SEQUENCE = ("contrast", "field_strength_t", "echo_time_s", "slice_mm", "voxel_x_mm")


def gather(
    layout: Layout, manifest: pd.DataFrame, buckets: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of TRACKS and of FOLLOWED_SESSIONS of the manifest's participants with several sessions.

    A participant whose bucket was not run (to the end) has sessions that were 'not read'.
    """
    several = with_several(manifest)
    tracks, followed = [TRACKS.frame([])], [FOLLOWED_SESSIONS.frame([])]
    for bucket in sorted({bucket_of(name, buckets) for name in several}):
        for found, table, path in (
            (tracks, TRACKS, layout.bucket("longitudinal", bucket)),
            (followed, FOLLOWED_SESSIONS, layout.followed(bucket)),
        ):
            if Path(path).exists():
                found.append(table.read(path))
    known = set(manifest["scan_id"])
    lesions, visits = pd.concat(tracks), pd.concat(followed)
    lesions = lesions[lesions["scan_id"].isin(known)]
    visits = visits[visits["participant_id"].isin(several)]
    # A run of some sessions leaves rows of others behind.
    visits = visits[visits["scan_id"].isna() | visits["scan_id"].isin(known)]
    have = set(zip(visits["participant_id"], visits["session_id"].map(plain), strict=True))
    own = manifest[manifest["participant_id"].isin(several)]
    every = dict.fromkeys(zip(own["participant_id"], own["session_id"].map(plain), strict=True))
    missing = [
        {"participant_id": participant, "session_id": session, "status": "not read"}
        for participant, session in every
        if (participant, session) not in have
    ]
    return lesions, pd.concat([visits, FOLLOWED_SESSIONS.frame(missing)])


def with_several(manifest: pd.DataFrame) -> list[str]:
    """Participants of the manifest with scans of several sessions."""
    return sessions.with_several(
        zip(manifest["participant_id"], manifest["session_id"].map(plain), strict=True)
    )


def of_cohort(
    tracks: pd.DataFrame,
    followed: pd.DataFrame,
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    phenotypes: pd.DataFrame,
    settings: dict[str, Any],
) -> tuple[list[dict], list[dict]]:
    """Rows of `pairs` and of `changes`.

    ``tracks`` and ``followed`` as :func:`gather` gives them, ``scans`` and ``lesions`` the cohort's
    tables, ``phenotypes`` the rows of sessions.tsv (acq_time, age), ``settings`` longitudinal.*.
    """
    when = _visits(phenotypes)
    read = scans[scans["status"] == "ok"]
    by_scan = {row["scan_id"]: row for row in as_records(read[["scan_id", *_SEQUENCE]])}
    large = lesions.loc[lesions["macrohaemorrhage"].astype(bool)]
    large = set(zip(large["scan_id"], large["lesion_id"], strict=True))
    seen = grouped(tracks, "participant_id")
    pairs, changes = [], []
    usable = followed[followed["status"] == "followed"]
    for participant, own in sorted(grouped(usable, "participant_id").items()):
        chosen = {row["session_id"]: row["scan_id"] for row in own if row["scan_id"] in by_scan}
        if len(chosen) < 2:
            continue
        times, ages = when.get(participant, ({}, {}))
        order, source = sessions.ordered(chosen, times, ages)
        lines = _lines(seen.get(participant, []), [chosen[session] for session in order], settings)
        for i, j in combinations(range(len(order)), 2):
            if j != i + 1 and i != 0:
                continue
            one, other = (by_scan[chosen[order[k]]] for k in (i, j))
            differ, unknown = sessions.differences(one, other, settings["tolerance"])
            years, years_from = sessions.years_between(order[i], order[j], times, ages)
            shared = {
                "participant_id": participant, "scan_id_1": one["scan_id"],
                "scan_id_2": other["scan_id"], "session_id_1": order[i], "session_id_2": order[j],
            }  # fmt: skip
            rows = [
                shared | {"comparable": not differ} | row
                for row in (_change(line, i, j, large) for line in lines)
                if row is not None
            ]
            changes += rows
            pairs.append(
                shared
                | {
                    "consecutive": j == i + 1, "since_baseline": i == 0,
                    "last": j == len(order) - 1, "order_from": source,
                    "years": years, "years_from": years_from, "comparable": not differ,
                    "difference": "; ".join(differ) or None,
                    "not_known": ", ".join(unknown) or None,
                }
                | _counted(rows, i == 0 and not differ, settings["bins"])
            )  # fmt: skip
    return pairs, changes


def _visits(phenotypes: pd.DataFrame) -> dict[str, tuple[dict, dict]]:
    """Participant -> (time, age) of each session, as far as sessions.tsv has them."""
    found: dict[str, tuple[dict[str, datetime | None], dict[str, float | None]]] = {}
    names = ["participant_id", "session_id", "acq_time", "age"]
    for row in as_records(phenotypes.reindex(columns=names)):
        times, ages = found.setdefault(row["participant_id"], ({}, {}))
        times[row["session_id"]] = sessions.parse_time(row["acq_time"])
        ages[row["session_id"]] = None if row["age"] is None else float(row["age"])
    return found


def _lines(rows: list[dict], order: list[str], settings: dict[str, Any]) -> list[list[dict]]:
    """Each track as its rows in the sessions' order, with ``held``: found, missed or not there."""
    by_track: dict[int, dict[str, dict]] = {}
    for row in rows:
        by_track.setdefault(row["track_id"], {})[row["scan_id"]] = row
    lines = []
    for _, own in sorted(by_track.items()):
        if not set(order) <= set(own):
            continue  # of a run over other sessions
        line = [own[scan_id] for scan_id in order]
        found = [k for k, row in enumerate(line) if row["found"]]
        if not found:
            continue
        for k, row in enumerate(line):
            between = found[0] < k < found[-1]
            score = row["p_there"] >= settings["missed_from"]
            row["held"] = (
                "found" if row["found"] else "between" if between else "score" if score else ""
            )
        lines.append(line)
    return lines


def _change(line: list[dict], i: int, j: int, large: set) -> dict | None:
    """What became of a track from session ``i`` to ``j``; None where neither shows it."""
    one, other = line[i], line[j]
    if not one["found"] and not other["found"]:
        return None
    missing = None if one["found"] and other["found"] else other if one["found"] else one
    if missing is None:
        change, why = "persisting", "found in both"
    elif missing["held"] == "between":
        change, why = "persisting", "found before and after"
    elif missing["held"] == "score":
        change, why = "persisting", "score"
    elif not missing["in_view"]:
        change, why = "not comparable", "not in view"
    else:
        change, why = ("lost" if one["found"] else "new"), "not found"
    shown = [row for row in (one, other) if row["found"]]
    row = {
        "track_id": one["track_id"],
        "change": change,
        "why": why,
        "label": "definite" if any(r["label"] == "definite" for r in shown) else "possible",
        "macrohaemorrhage": any((r["scan_id"], r["lesion_id"]) in large for r in shown),
        **{name: one[name] for name in ("region", "group", "hemisphere")},
    }
    for k, own in ((1, one), (2, other)):
        row |= {f"{axis}_mm_{k}": own[f"{axis}_mm"] for axis in "xyz"}
        row |= {f"lesion_id_{k}": own["lesion_id"], f"probability_{k}": own["probability"]}
    if missing is None:
        middles = [
            np.array([r["middle_x_mm"], r["middle_y_mm"], r["middle_z_mm"]]) for r in (one, other)
        ]
        row["distance_mm"] = round(float(np.linalg.norm(middles[1] - middles[0])), 3)
    else:
        row |= {name: missing[name] for name in ("candidate_probability", "candidate_mm")}
        row["p_missed"] = missing["p_there"]
    return row


def _counted(rows: list[dict], as_aria_h: bool, bins: list[int]) -> dict[str, Any]:
    definite = [r for r in rows if r["label"] == "definite" and not r["macrohaemorrhage"]]

    def number(change: str, among: list[dict] = definite) -> int:
        return sum(row["change"] == change for row in among)

    later_only = [
        r for r in definite if r["lesion_id_1"] is None and r["change"] in ("new", "persisting")
    ]
    new = number("new")
    label = summary_bins.binned(pd.Series([new]), bins, summary_bins.bin_labels(bins))[0]
    possible = [r for r in rows if r["label"] == "possible" and not r["macrohaemorrhage"]]
    return {
        "n_new": new,
        "n_persisting": number("persisting"),
        "n_found_once": sum(
            r["change"] == "persisting" and r["why"] != "found in both" for r in definite
        ),
        "n_lost": number("lost"),
        "n_not_comparable": number("not comparable"),
        "n_new_possible": number("new", possible),
        "expected_new": round(
            sum(1 - r["p_missed"] for r in later_only if r["why"] != "found before and after"), 4
        ),
        "aria_h_style": label if as_aria_h else None,
    }
