"""Stage longitudinal: the sessions of a participant brought together, and each lesion looked for in
all of them.

What it writes does not depend on which session is earlier: dates enter with the phenotypes, at
``aggregate`` (see ``changes``). A bucket is a job; a participant's result is cached under all that
it depends on, a pair's registration under the two images.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import time
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.affines import apply_affine

from cmburden.core import keys as core_keys
from cmburden.core import provenance, resources, schema, stages, tables
from cmburden.core.files import sha256_of_file, write_json
from cmburden.core.keys import bucket_of, hash_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Outcome, Scan
from cmburden.core.text import natural
from cmburden.follow import midspace, sessions
from cmburden.follow.figure import draw
from cmburden.follow.midspace import Pair, Session
from cmburden.follow.tracks import Rates, link, look
from cmburden.models import contract as contracts

STAGE, VERSION = stages.LONGITUDINAL.name, stages.LONGITUDINAL.version
_STAGES = ("preprocess", "register", "detect", "verify")
_CENTRE = ["x_mm", "y_mm", "z_mm"]
_MIDDLE = ["middle_x_mm", "middle_y_mm", "middle_z_mm"]
_LOG = logging.getLogger(__name__)


def run(
    people: dict[str, list[Scan]], layout: Layout, settings: dict, verify: dict, buckets: int,
    bucket: int,
) -> None:  # fmt: skip
    """Follow the participants of a bucket: its shard of tracks, its shard of sessions, pictures.

    ``people`` are participants with scans of two sessions or more; ``verify`` the settings of that
    stage, whose model's contract says how much its detector misses; ``buckets`` the number of
    shards of verify.
    """
    began = time.monotonic()
    contract = contracts.load(resources.root() / verify["model"])
    rates = Rates.of_contract(contract)
    shards: dict[int, pd.DataFrame] = {}
    tracks, followed = [], []
    for participant, scans in sorted(people.items()):
        read = {}
        for scan in scans:
            number = bucket_of(scan.scan_id, buckets)
            if number not in shards:
                shards[number] = tables.CANDIDATES.read(layout.bucket("verify", number))
            shard = shards[number]
            own = shard[shard["scan_id"] == scan.scan_id].reset_index(drop=True)
            if _was_read(layout, scan, own):
                read[scan.scan_id] = own
        one, other = _follow(participant, scans, read, layout, settings, rates)
        followed.append(one)
        tracks.append(other)
        found = other["track_id"].nunique()
        _LOG.info("%s: %d sessions, %d lesions", participant, len(one), found)
    tables.TRACKS.write(layout.bucket(STAGE, bucket), _joined(tables.TRACKS, tracks))
    tables.FOLLOWED_SESSIONS.write(
        layout.followed(bucket), _joined(tables.FOLLOWED_SESSIONS, followed)
    )
    provenance.write_run(
        layout, STAGE, VERSION, f"bucket-{bucket}", settings, seconds=time.monotonic() - began
    )


def _joined(table: schema.Table, frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames) if frames else table.frame([])


def _was_read(layout: Layout, scan: Scan, candidates: pd.DataFrame) -> bool:
    """Whether all stages succeeded and the shard holds what the record of verify says."""
    for stage in _STAGES:
        path = layout.record(stage, scan.scan_id)
        outcome = Outcome.read(path) if path.exists() else None
        if outcome is None or not outcome.ok:
            return False
    kept = int(candidates["kept"].fillna(False).sum())
    return outcome.measures.get("n_kept", kept) == kept


def _follow(participant, scans, read, layout, settings, rates) -> tuple:
    """Rows of FOLLOWED_SESSIONS and TRACKS of one participant."""
    used = _one_a_session(scans, read, layout, settings)
    rows = {
        scan.session_id: {
            "participant_id": participant,
            "session_id": scan.session_id,
            "status": "not read",
        }
        for scan in scans
    }
    for scan in used:
        rows[scan.session_id] |= {"scan_id": scan.scan_id, "status": "followed"}

    @functools.cache
    def image(k: int) -> Session:
        return load(used[k], layout)

    pairs = {
        (i, j): _registered(used[i], used[j], lambda i=i, j=j: (image(i), image(j)), layout)
        for i, j in combinations(range(len(used)), 2)
    }
    # Brains that do not lie on each other, and brains that do and are not one: GRE and SWI of one
    # head differ in signal, so that is asked of scans of one contrast.
    off = {ij for ij, pair in pairs.items() if pair.overlap < settings["min_overlap"]}
    unlike = {
        (i, j)
        for (i, j), pair in pairs.items()
        if used[i].contrast == used[j].contrast and pair.correlation < settings["min_correlation"]
    }
    kept = midspace.consistent(off | unlike, len(used))
    kept = kept if len(kept) > 1 else []
    for k, scan in enumerate(used):
        status = "followed"
        if k not in kept:
            status = "not registered" if any(k in ij for ij in off) else "not alike"
        if own := [pair for ij, pair in pairs.items() if k in ij]:
            rows[scan.session_id] |= {
                "overlap": round(min(pair.overlap for pair in own), 4),
                "correlation": round(min(pair.correlation for pair in own), 4),
                "status": status,
            }
            if status == "not alike":
                _LOG.warning("%s: not like the other sessions; is it this person?", scan.scan_id)
    followed = tables.FOLLOWED_SESSIONS.frame(list(rows.values()))
    key = _key([used[k] for k in kept], read, layout, settings, rates)
    cached = layout.cached(STAGE, key)
    if not kept or not (cached.exists() and _pictures_there(cached, layout)):
        # Those of a run before, with other sessions or lesions, would stay.
        figures = layout.change_figure(participant, "*")
        for path in figures.parent.glob(figures.name):
            path.unlink()
    if not kept:
        return followed, tables.TRACKS.frame([])
    if not (cached.exists() and _pictures_there(cached, layout)):
        motions = {
            (kept.index(i), kept.index(j)): pair.motion
            for (i, j), pair in pairs.items()
            if i in kept and j in kept
        }
        poses = midspace.synchronise(motions, np.array([image(k).centre for k in kept]))
        visits = [
            Visit(used[k], image(k), pose, read[used[k].scan_id])
            for k, pose in zip(kept, poses, strict=True)
        ]
        found = presence(participant, visits, settings, rates)
        draw(found, visits, layout, participant)
        tables.TRACKS.write(cached, found)
    return followed, tables.TRACKS.read(cached)


def _one_a_session(scans, read, layout: Layout, settings: dict) -> list[Scan]:
    """The scan that stands for each session that was read, by scan_id."""
    measured = []
    for scan in scans:
        if scan.scan_id in read:
            measures = Outcome.read(layout.record("preprocess", scan.scan_id)).measures
            row = {name: measures.get(name) for name in ("voxel_x_mm", "slice_mm")}
            measured.append(dataclasses.asdict(scan) | row)
    chosen = {row["scan_id"] for row in sessions.alike(measured, settings["tolerance"]).values()}
    return sorted((s for s in scans if s.scan_id in chosen), key=lambda s: s.scan_id)


def _key(used: list[Scan], read, layout: Layout, settings: dict, rates: Rates) -> str:
    """Of all that a participant's tracks depend on."""
    content = [
        [
            scan.scan_id, scan.session_id, sha256_of_file(layout.preproc(scan)),
            sha256_of_file(layout.brain_mask(scan)),
            json.loads(read[scan.scan_id].to_json(orient="values")),
        ]
        for scan in used
    ]  # fmt: skip
    return hash_of(VERSION, midspace.VERSION, settings, dataclasses.asdict(rates), content)


def _pictures_there(cached: Path, layout: Layout) -> bool:
    tracks = tables.TRACKS.read(cached)
    names = tracks[["participant_id", "track_id"]].drop_duplicates()
    return all(layout.change_figure(*row).exists() for row in names.itertuples(index=False))


def load(scan: Scan, layout: Layout) -> Session:
    preproc, mask = nib.load(layout.preproc(scan)), nib.load(layout.brain_mask(scan))
    return Session(
        np.asarray(preproc.dataobj, dtype=np.float32), np.asarray(mask.dataobj) > 0, preproc.affine
    )


def _registered(one: Scan, other: Scan, images, layout: Layout) -> Pair:
    """The motion between two sessions, from the cache where these images were registered before;
    ``images()`` loads them."""
    hashes = [
        sha256_of_file(path(scan)) for scan in (one, other)
        for path in (layout.preproc, layout.brain_mask)
    ]  # fmt: skip
    cached = layout.cached(STAGE, hash_of("pair", midspace.VERSION, hashes), "json")
    if not cached.exists():
        try:
            pair = midspace.register_pair(*images())
        except RuntimeError as error:
            # ANTs gives up on two images that have nothing in common: they are not compared.
            _LOG.warning("%s, %s: not registered (%s)", one.scan_id, other.scan_id, error)
            return Pair(np.eye(4), 0.0, 0.0)
        write_json(cached, dataclasses.asdict(pair) | {"motion": pair.motion.tolist()})
    content = json.loads(cached.read_text())
    return Pair(np.array(content["motion"]), content["overlap"], content["correlation"])


@dataclasses.dataclass(frozen=True)
class Visit:
    """A session in the mid-space: its scan, image, ``pose`` (4 x 4, scanner RAS mm to mid-space)
    and ``candidates`` (rows of ``tables.CANDIDATES``)."""

    scan: Scan
    image: Session
    pose: np.ndarray
    candidates: pd.DataFrame

    def middle(self, rows: pd.DataFrame) -> np.ndarray:
        """Centres (n, 3) of ``rows`` in the mid-space."""
        return apply_affine(self.pose, rows[_CENTRE].to_numpy(dtype=float).reshape(-1, 3))


def presence(participant: str, visits: list[Visit], settings: dict, rates: Rates) -> pd.DataFrame:
    """Rows of ``tables.TRACKS``: every lesion of any session, in every session."""
    lesions, rejected = [], []
    for visit in visits:
        kept = visit.candidates["kept"].fillna(False).to_numpy(dtype=bool)
        own = visit.candidates[kept].reset_index(drop=True)
        lesions.append(own.assign(lesion_id=core_keys.lesion_numbers(own)))
        rejected.append(visit.candidates[~kept].reset_index(drop=True))
    error, max_mm = settings["position_error_mm"], settings["max_distance_mm"]
    spreads = [midspace.spread(v.image.affine, v.pose, error) for v in visits]
    middles = [v.middle(own) for v, own in zip(visits, lesions, strict=True)]
    tracks = link(middles, spreads, max_mm)
    tracks.sort(key=lambda t: _first(t, visits, lesions))
    rows = []
    for number, track in enumerate(tracks, start=1):
        seen = {k: lesions[k].iloc[row] for k, row in track.items()}
        best = max(seen, key=lambda k: (seen[k]["probability"], visits[k].scan.scan_id))
        place = {name: seen[best][name] for name in ("region", "group", "hemisphere")}
        at = np.mean([middles[k][row] for k, row in track.items()], axis=0)
        for k, visit in enumerate(visits):
            row = place | {
                "participant_id": participant, "track_id": number, "scan_id": visit.scan.scan_id,
                "session_id": visit.scan.session_id, "found": k in track,
            }  # fmt: skip
            if k in track:
                own = seen[k]
                row |= {name: own[name] for name in ("lesion_id", "label", "probability", *_CENTRE)}
                row |= dict(zip(_MIDDLE, np.round(middles[k][track[k]], 3), strict=True))
                row |= {"in_view": True, "p_there": 1.0}
            else:
                row |= _looked_for(
                    at, k, visits, rejected, spreads, seen, list(track), settings, rates
                )
            rows.append(row)
    return tables.TRACKS.frame(rows)


def _first(track: dict[int, int], visits, lesions) -> tuple:
    """Sort key of tracks: the first session by label that shows it, and its number there."""
    keys = [
        (natural(visits[k].scan.session_id), int(lesions[k].iloc[row]["lesion_id"]))
        for k, row in track.items()
    ]
    return min(keys)


def _looked_for(at, k, visits, rejected, spreads, seen, shown, settings, rates) -> dict:
    """What session ``k`` says of a lesion at ``at`` (mid-space mm) that only others show."""
    visit = visits[k]
    place = apply_affine(np.linalg.inv(visit.pose), at)
    _, brain = midspace.in_view(place, visit.image.mask, visit.image.affine)
    brain_mm3 = visit.image.mask.sum() * abs(np.linalg.det(visit.image.affine[:3, :3]))
    looked = look(
        at, spreads[k] + np.mean([spreads[j] for j in shown], axis=0),
        max(float(lesion["probability"]) for lesion in seen.values()),
        visit.middle(rejected[k]), rejected[k]["probability"].to_numpy(dtype=float),
        max(len(visit.candidates), 1) / brain_mm3, rates,
        prior=settings["prior_there"], max_mm=settings["max_distance_mm"],
    )  # fmt: skip
    row = dict(zip(_CENTRE, np.round(place, 3), strict=True))
    row |= dict(zip(_MIDDLE, np.round(at, 3), strict=True))
    row |= {"in_view": bool(brain[0]), "p_there": round(looked.probability, 4)}
    if looked.candidate is not None:
        nearest = rejected[k].iloc[looked.candidate]
        row |= {
            "candidate_id": nearest["candidate_id"],
            "candidate_probability": nearest["probability"],
            "candidate_mm": round(looked.distance_mm, 2),
        }
    return row
