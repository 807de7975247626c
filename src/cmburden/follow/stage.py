"""Stage longitudinal: brings a participant's sessions together and looks for each lesion in all.

The output does not depend on which session is earlier: dates enter with the phenotypes, at
``aggregate`` (see ``cohort.changes``). A bucket of participants is a job. A participant's tracks
are cached under all that they depend on, a pair's registration under its two images.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import time
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.core import provenance, remake, resources, schema, stages, tables, tries
from cmburden.core.errors import CMBurdenError, sentence
from cmburden.core.files import read_json, write_json
from cmburden.core.keys import bucket_of, hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.follow import figure, midspace, sessions
from cmburden.follow.midspace import Image, ImagePair
from cmburden.follow.presence import Visit, presence
from cmburden.follow.tracks import Rates
from cmburden.images.prepared import Prepared, UnreadableDerivative, checksums
from cmburden.models.contract import load

STAGE, VERSION = stages.LONGITUDINAL.name, stages.LONGITUDINAL.version
_LOG = logging.getLogger(__name__)

#: Registrations of sessions i < j of a participant.
Pairs = Mapping[tuple[int, int], ImagePair]


@dataclasses.dataclass(frozen=True)
class FollowedSession:
    """A session of a participant, with the columns of ``tables.FOLLOWED_SESSIONS``.

    ``scan_id`` names the scan that stands for the session, None where no scan was read.
    """

    participant_id: str
    session_id: str | None
    scan_id: str | None = None
    status: str = "not read"
    overlap: float | None = None
    correlation: float | None = None


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all participants of a bucket share.

    ``settings`` is the section ``longitudinal`` of the configuration, ``rates`` the detector's.
    """

    layout: Layout
    settings: dict[str, Any]
    rates: Rates


def run(
    people: dict[str, list[Scan]],
    layout: Layout,
    settings: dict[str, Any],
    verify: dict[str, Any],
    buckets: int,
    bucket: int,
) -> None:
    """Follow the participants of a bucket: its shard of tracks, its shard of sessions, pictures.

    ``people`` are participants with scans of two sessions or more; ``verify`` the settings of that
    stage, whose model's contract holds the detector's rates; ``buckets`` the number of shards of
    verify.
    """
    began = time.monotonic()
    setup = Setup(layout, settings, Rates.of_contract(load(resources.root() / verify["model"])))
    shard = functools.cache(
        lambda number: tables.CANDIDATES.read(layout.bucket(stages.VERIFY.name, number))
    )
    all_tracks, all_sessions = [], []
    counts = layout.tries(STAGE, f"bucket-{bucket}")
    for participant, scans in sorted(people.items()):
        candidates = {}
        for scan in scans:
            rows = shard(bucket_of(scan.scan_id, buckets))
            rows = rows[rows["scan_id"] == scan.scan_id].reset_index(drop=True)
            if _was_read(layout, scan, rows):
                candidates[scan.scan_id] = rows
        of_person, tracks = _follow_or_say(participant, scans, candidates, setup, counts)
        all_sessions.append(of_person)
        all_tracks.append(tracks)
        lesions = tracks["track_id"].nunique()
        _LOG.info("%s: %d sessions, %d lesions", participant, len(of_person), lesions)
    tables.TRACKS.write(layout.bucket(STAGE, bucket), _joined(tables.TRACKS, all_tracks))
    tables.FOLLOWED_SESSIONS.write(
        layout.followed(bucket), _joined(tables.FOLLOWED_SESSIONS, all_sessions)
    )
    provenance.write_run(
        layout, STAGE, VERSION, f"bucket-{bucket}", settings, seconds=time.monotonic() - began
    )


def _follow_or_say(
    participant: str,
    scans: list[Scan],
    candidates: dict[str, pd.DataFrame],
    setup: Setup,
    counts: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """:func:`follow`; what goes wrong with one participant stops no other.

    A session whose image is damaged counts as not read, and the next run makes the image anew. If
    the work crashes, or processes ended at it (``counts``: ``core.tries``), the sessions are
    ``crashed``: their lesions are then not followed.
    """
    key = hash_of(VERSION, setup.settings, [scan.content_key for scan in scans])
    try:
        with tries.counted(counts, participant, key):
            return follow(participant, scans, candidates, setup)
    except UnreadableDerivative as error:
        _LOG.error("%s: %s", error.scan_id, error)
        remake.mark(setup.layout, error.scan_id)
        others = {name: rows for name, rows in candidates.items() if name != error.scan_id}
        return _follow_or_say(participant, scans, others, setup, counts)
    except Exception as error:
        if sentence(error) is not None:
            raise
        _LOG.exception("%s: its sessions are not followed", participant)
    figure.remove(setup.layout, participant)
    was_read = {scan.session_id for scan in scans if scan.scan_id in candidates}
    rows = [
        FollowedSession(participant, name, status="crashed" if name in was_read else "not read")
        for name in dict.fromkeys(scan.session_id for scan in scans)
    ]
    of_person = tables.FOLLOWED_SESSIONS.frame([dataclasses.asdict(row) for row in rows])
    return of_person, tables.TRACKS.frame([])


def _joined(table: schema.Table, frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames) if frames else table.frame([])


def _was_read(layout: Layout, scan: Scan, candidates: pd.DataFrame) -> bool:
    """Whether all stages succeeded and the shard holds as many lesions as the record of verify."""
    measures: dict[str, Any] = {}
    for stage in stages.RECORDED_STAGES:
        outcome = Outcome.read(layout.record(stage, scan.scan_id))
        if not outcome.ok:
            return False
        measures = outcome.measures
    kept = int(candidates["kept"].fillna(False).sum())
    return measures.get("n_kept", kept) == kept


def follow(
    participant: str, scans: list[Scan], candidates: dict[str, pd.DataFrame], setup: Setup
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of ``tables.FOLLOWED_SESSIONS`` and of ``tables.TRACKS`` of one participant.

    ``candidates`` maps the scan_id of each scan that was read to rows of ``tables.CANDIDATES``.
    """
    used = _one_a_session(scans, candidates, setup)
    image = functools.cache(lambda scan: read_image(scan, setup.layout))
    pairs = register_all(used, image, setup.layout)
    statuses = midspace.consistent_sessions(
        pairs,
        [scan.contrast for scan in used],
        min_overlap=setup.settings["min_overlap"],
        min_correlation=setup.settings["min_correlation"],
    )
    rows = {scan.session_id: FollowedSession(participant, scan.session_id) for scan in scans}
    for k, scan in enumerate(used):
        rows[scan.session_id] = _followed_session(k, scan, statuses[k], pairs)
    followed = tables.FOLLOWED_SESSIONS.frame([dataclasses.asdict(row) for row in rows.values()])
    together = [k for k, status in enumerate(statuses) if status == "followed"]
    if len(together) < 2:
        figure.remove(setup.layout, participant)
        return followed, tables.TRACKS.frame([])

    def visits() -> list[Visit]:
        poses = midspace.synchronise(
            _among(pairs, together), np.array([image(used[k]).centre for k in together])
        )
        return [
            Visit(used[k], image(used[k]), pose, candidates[used[k].scan_id])
            for k, pose in zip(together, poses, strict=True)
        ]

    key = _key([used[k] for k in together], candidates, setup)
    return followed, _cached_tracks(participant, key, visits, setup)


def _followed_session(k: int, scan: Scan, status: str, pairs: Pairs) -> FollowedSession:
    """Row of session ``k``, whose scan is ``scan``, with its least agreement with another."""
    session = FollowedSession(scan.participant_id, scan.session_id, scan.scan_id, status)
    if status == "not alike":
        _LOG.warning("%s: not like the other sessions; is it this person?", scan.scan_id)
    of_session = [pair for ij, pair in pairs.items() if k in ij]
    if not of_session:
        return session
    return dataclasses.replace(
        session,
        overlap=round(min(pair.overlap for pair in of_session), 4),
        correlation=round(min(pair.correlation for pair in of_session), 4),
    )


def _among(pairs: Pairs, together: list[int]) -> dict[tuple[int, int], np.ndarray]:
    """Motions between the sessions ``together``, which are numbered anew from 0."""
    return {
        (together.index(i), together.index(j)): pair.motion
        for (i, j), pair in pairs.items()
        if i in together and j in together
    }


def _cached_tracks(
    participant: str, key: str, visits: Callable[[], list[Visit]], setup: Setup
) -> pd.DataFrame:
    """The tracks of ``key`` from the cache, or made from ``visits()``, with their pictures."""
    cached = setup.layout.cached(STAGE, key)
    if cached.exists():
        try:
            tracks = tables.TRACKS.read(cached)
            if figure.complete(tracks, setup.layout):
                return tracks
        except CMBurdenError as error:
            _LOG.warning("%s: made again", error)
    together = visits()
    tracks = presence(participant, together, setup.settings, setup.rates)
    figure.draw(tracks, together, setup.layout, participant)
    tables.TRACKS.write(cached, tracks)
    return tables.TRACKS.read(cached)


def _one_a_session(
    scans: list[Scan], candidates: dict[str, pd.DataFrame], setup: Setup
) -> list[Scan]:
    """The scan that stands for each session that was read, by scan_id."""
    measured = []
    for scan in scans:
        if scan.scan_id in candidates:
            record = Outcome.read(setup.layout.record(stages.PREPROCESS.name, scan.scan_id))
            row = {name: record.measures.get(name) for name in ("voxel_x_mm", "slice_mm")}
            measured.append(dataclasses.asdict(scan) | row)
    alike = sessions.alike(measured, setup.settings["tolerance"])
    chosen = {row["scan_id"] for row in alike.values()}
    return sorted((s for s in scans if s.scan_id in chosen), key=lambda s: s.scan_id)


def _key(used: list[Scan], candidates: dict[str, pd.DataFrame], setup: Setup) -> str:
    """Hash of all that a participant's tracks depend on."""
    content = [
        [
            scan.scan_id,
            scan.session_id,
            *checksums(scan, setup.layout),
            json.loads(candidates[scan.scan_id].to_json(orient="values")),
        ]
        for scan in used
    ]
    rates = dataclasses.asdict(setup.rates)
    return hash_of(VERSION, midspace.VERSION, setup.settings, rates, content)


def read_image(scan: Scan, layout: Layout) -> Image:
    """The image of a session; UnreadableDerivative where a file of preprocess is damaged."""
    prepared = Prepared.read(scan, layout)
    return Image(prepared.volume, prepared.mask, prepared.affine)


def register_all(
    scans: list[Scan], image: Callable[[Scan], Image], layout: Layout
) -> dict[tuple[int, int], ImagePair]:
    """The registration of each two of ``scans``, by their numbers i < j."""
    return {
        (i, j): _registered(scans[i], scans[j], image, layout)
        for i, j in combinations(range(len(scans)), 2)
    }


def _registered(
    one: Scan, other: Scan, image: Callable[[Scan], Image], layout: Layout
) -> ImagePair:
    """The motion between two sessions, from the cache where these images were registered before."""
    cached = _cached_pair(one, other, layout)
    stored = _stored_pair(cached)
    if stored is not None:
        return stored
    try:
        pair = midspace.register_pair(image(one), image(other))
    except RuntimeError as error:
        # ANTs gives up on two images that have nothing in common: they are not compared.
        _LOG.warning("%s, %s: not registered (%s)", one.scan_id, other.scan_id, error)
        return ImagePair(np.eye(4), 0.0, 0.0)
    write_json(cached, dataclasses.asdict(pair) | {"motion": pair.motion.tolist()})
    return pair


def _cached_pair(one: Scan, other: Scan, layout: Layout) -> Path:
    """The cache's file of the registration of two sessions, by the content of their images."""
    hashes = [*checksums(one, layout), *checksums(other, layout)]
    return layout.cached(STAGE, hash_of("pair", midspace.VERSION, hashes), "json")


def known_motion(one: Scan, other: Scan, layout: Layout, min_overlap: float) -> np.ndarray | None:
    """Rigid motion (4 x 4, RAS mm) from ``one`` to ``other``; None where they are not registered.

    Brains that overlap by less than ``min_overlap`` count as not registered.
    """
    first, second = sorted((one, other), key=lambda scan: scan.scan_id)
    try:
        pair = _stored_pair(_cached_pair(first, second, layout))
    except UnreadableDerivative:
        return None
    if pair is None or not pair.overlap >= min_overlap:
        return None
    return pair.motion if first is one else np.linalg.inv(pair.motion)


def _stored_pair(path: Path) -> ImagePair | None:
    """The registration of two sessions from the cache; None where it is absent or torn."""
    content = read_json(path)
    try:
        motion = np.array(content["motion"], dtype=float).reshape(4, 4)
        pair = ImagePair(motion, float(content["overlap"]), float(content["correlation"]))
    except (KeyError, TypeError, ValueError):
        return None
    whole = np.isfinite([*motion.ravel(), pair.overlap, pair.correlation]).all()
    return pair if whole else None
