"""Gathers what the stage `longitudinal` left of participants with several sessions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cmburden.core.keys import bucket_of
from cmburden.core.paths import Layout
from cmburden.core.rows import plain
from cmburden.core.tables import FOLLOWED_SESSIONS, TRACKS
from cmburden.follow import sessions


def gather(
    layout: Layout, manifest: pd.DataFrame, buckets: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of `tracks` and `followed_sessions` of participants with several sessions.

    Sessions of a participant whose bucket was not run to the end have the status 'not read'.
    """
    several = with_several(manifest)
    tracks, followed = [TRACKS.frame([])], [FOLLOWED_SESSIONS.frame([])]
    for bucket in sorted({bucket_of(name, buckets) for name in several}):
        for frames, table, path in (
            (tracks, TRACKS, layout.bucket("longitudinal", bucket)),
            (followed, FOLLOWED_SESSIONS, layout.followed(bucket)),
        ):
            if Path(path).exists():
                frames.append(table.read(path))
    scan_ids = set(manifest["scan_id"])
    lesions, visits = pd.concat(tracks), pd.concat(followed)
    lesions = lesions[lesions["scan_id"].isin(scan_ids)]
    visits = visits[visits["participant_id"].isin(several)]
    # The shards may hold sessions of an earlier run that are not in this manifest.
    visits = visits[visits["scan_id"].isna() | visits["scan_id"].isin(scan_ids)]
    in_shards = set(_sessions(visits))
    missing = [
        {"participant_id": participant, "session_id": session, "status": "not read"}
        for participant, session in _sessions(manifest[manifest["participant_id"].isin(several)])
        if (participant, session) not in in_shards
    ]
    return lesions, pd.concat([visits, FOLLOWED_SESSIONS.frame(missing)])


def _sessions(table: pd.DataFrame) -> list[tuple[str, str | None]]:
    """(participant, session) of each row, each once."""
    every = zip(table["participant_id"], table["session_id"].map(plain), strict=True)
    return list(dict.fromkeys(every))


def with_several(manifest: pd.DataFrame) -> list[str]:
    """Participants of the manifest with scans of several sessions."""
    return sessions.with_several(_sessions(manifest))
