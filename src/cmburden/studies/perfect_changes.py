"""Calls of change against simulated truth: ``python -m cmburden.studies.perfect_changes``.

``perfect`` simulates sessions, gives every microbleed as found, and registers, links and calls for
real: what is lost is lost by registration and matching. ``real`` compares a run's tables with the
truth of ``cmburden simulate --sessions``: what is lost is lost by the detector too.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmburden.cohort import changes
from cmburden.core import config, schema, tables
from cmburden.core.errors import CMBurdenError, told
from cmburden.core.files import whole_file, write_json
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.follow import midspace
from cmburden.follow import stage as longitudinal
from cmburden.follow.tracks import Rates
from cmburden.stats.intervals import wilson
from cmburden.stats.matching import hungarian

#: Microbleeds that are there, whether a reader would see them in that scan or not.
THERE = ("microbleed", "faint", "unseen")
CALLS = ("persisting", "new", "lost")
CONVENTIONS = {
    "truth": "a microbleed is persisting where it is in both scans of a pair, new or lost where in "
    "one; one that no reader would see in a scan is there all the same",
    "counted": "microbleeds found (definite or possible) in either scan of a pair of consecutive "
    "sessions: a lesion is a microbleed's by one-to-one matching within max(3 mm, its radius)",
    "right": "all its found lesions are in one track, whose call is the truth's; 'not comparable' "
    "is not right",
    "false new": "a definite lesion called new that is no microbleed gained in that pair",
    "interval": "Wilson 95 %; microbleeds of a person are not independent, so it is somewhat short",
}


@dataclasses.dataclass(frozen=True)
class Score:
    """``called[truth][call]`` microbleeds; pairs and those without any true change; false new."""

    called: dict[str, dict[str, int]]
    pairs: int
    unchanged: int
    false_new: int
    false_new_unchanged: int

    def share(self, truth: str) -> tuple[int, int]:
        own = self.called[truth]
        return own.get(truth, 0), sum(own.values())


# --- scoring ---


def score(
    pairs: pd.DataFrame, called: pd.DataFrame, lesions: pd.DataFrame, truth: pd.DataFrame
) -> Score:
    """Tables `pairs`, `changes` and `lesions` against ``truth`` (``tables.TRACKED_TRUTH``)."""
    steps = pairs[pairs["consecutive"].astype(bool)]
    there = truth[truth["kind"].isin(THERE)]
    tracks = {name: set(own["track_id"]) for name, own in there.groupby("scan_id")}
    of_lesion = {}
    for scan_id in sorted({*steps["scan_id_1"], *steps["scan_id_2"]}):
        of_lesion |= _microbleeds_of(
            scan_id, lesions[lesions["scan_id"] == scan_id], there[there["scan_id"] == scan_id]
        )
    table: dict[str, dict[str, int]] = {name: {} for name in CALLS}
    unchanged = false_new = false_unchanged = 0
    for pair in steps.to_dict("records"):
        one, other = pair["scan_id_1"], pair["scan_id_2"]
        before, after = tracks.get(one, set()), tracks.get(other, set())
        own = called[(called["scan_id_1"] == one) & (called["scan_id_2"] == other)]
        found: dict[int, list[str]] = {}
        wrong = 0
        for row in schema.as_records(own):
            shown = {
                of_lesion.get((scan, row[f"lesion_id_{k}"]))
                for k, scan in ((1, one), (2, other))
                if row[f"lesion_id_{k}"] is not None
            } - {None}
            for track in shown:
                found.setdefault(track, []).append(row["change"] if len(shown) == 1 else "mixed")
            gained = shown & (after - before)
            wrong += row["change"] == "new" and row["label"] == "definite" and not gained
        for track, what in found.items():
            real = "persisting" if track in before & after else "new" if track in after else "lost"
            # Two rows for one microbleed: the session's lesions were not brought together.
            call = what[0] if len(what) == 1 else "split"
            table[real][call] = table[real].get(call, 0) + 1
        false_new += wrong
        if before == after:
            unchanged += 1
            false_unchanged += wrong
    return Score(table, len(steps), unchanged, false_new, false_unchanged)


def _microbleeds_of(scan_id: str, lesions: pd.DataFrame, real: pd.DataFrame) -> dict:
    """(scan, lesion) -> track of the microbleed that it is."""
    centre = ["x_mm", "y_mm", "z_mm"]
    points, truth = (rows[centre].to_numpy(dtype=float) for rows in (lesions, real))
    hits = hungarian(points, truth, real["radius_mm"].to_numpy(dtype=float, na_value=np.nan))
    numbers, tracks = lesions["lesion_id"].tolist(), real["track_id"].tolist()
    return {(scan_id, int(numbers[i])): int(tracks[j]) for i, j in hits}


def as_plain(result: Score) -> dict[str, Any]:
    shares = {}
    for name in CALLS:
        right, number = result.share(name)
        low, high = wilson(right, number)
        shares[name] = {
            "right": right, "number": number, "called": dict(sorted(result.called[name].items())),
            "share": right / number if number else None,
            "ci_low": low if number else None, "ci_high": high if number else None,
        }  # fmt: skip
    return {
        "microbleeds": shares,
        "pairs": result.pairs,
        "pairs_without_change": result.unchanged,
        "false_new": result.false_new,
        "false_new_in_pairs_without_change": result.false_new_unchanged,
        "conventions": CONVENTIONS,
    }


def markdown(result: dict[str, Any]) -> str:
    lines = ["| truth | microbleeds | called so | share, 95 % | called otherwise |"]
    lines.append("|---|---|---|---|---|")
    for name, row in result["microbleeds"].items():
        other = ", ".join(f"{call} {n}" for call, n in row["called"].items() if call != name)
        share = (
            f"{row['share']:.3f} ({row['ci_low']:.3f}-{row['ci_high']:.3f})"
            if row["number"]
            else "-"
        )
        lines.append(f"| {name} | {row['number']} | {row['right']} | {share} | {other or '-'} |")
    lines += [
        "",
        f"{result['pairs']} pairs; {result['pairs_without_change']} without any true change, in "
        f"which {result['false_new_in_pairs_without_change']} definite lesions were called new "
        f"({result['false_new']} in all pairs).",
    ]
    if error := result.get("registration_error_mm"):
        lines.append(
            f"Registration error over the brain, {error['pairs']} pairs: mean {error['mean']:.2f} "
            f"mm, largest mean of a pair {error['worst_mean']:.2f} mm, largest anywhere "
            f"{error['largest']:.2f} mm."
        )
    return "\n".join(lines) + "\n"


# --- a perfect detector ---


def perfect(
    participants: int, number: int, seed: int, anatomy: list[Path | None], settings: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Simulated participants with ``number`` sessions each, everything found; scored after each.

    Scans have the OATS-like contrast with voxels of 2 x 2 x 5 mm and coarse physics, and no veins:
    they only serve the registration. Brain masks are the true ones with an edge that wanders by
    some millimetres, in each session otherwise, as extraction's does.
    """
    parts: dict[str, list] = {"pairs": [], "changes": [], "lesions": [], "truth": []}
    errors = []
    for k in range(1, participants + 1):
        own, wrong = _one_perfect(k, number, seed, anatomy[k % len(anatomy)], settings)
        for name, rows in own.items():
            parts[name] += rows
        errors += wrong
        result = as_plain(
            score(
                tables.PAIRS.frame(parts["pairs"]), tables.CHANGES.frame(parts["changes"]),
                pd.DataFrame(parts["lesions"]), tables.TRACKED_TRUTH.frame(parts["truth"]),
            )
        )  # fmt: skip
        means = [error.mean() for error in errors]
        yield result | {
            "participants": k,
            "registration_error_mm": {
                "pairs": len(errors),
                "mean": float(np.mean(means)),
                "worst_mean": float(np.max(means)),
                "largest": float(max(error.max() for error in errors)),
            },
        }


def _one_perfect(k: int, number: int, seed: int, anatomy: Path | None, settings) -> tuple:
    from cmburden.simulate import acquisition as aq
    from cmburden.simulate import anatomy as an
    from cmburden.simulate import courses as simulated
    from cmburden.simulate.sources import Findings

    name = f"sub-{k:03d}"
    rng = np.random.default_rng(seed_of("perfect", seed, k))
    preset = dataclasses.replace(aq.PRESETS["OATS"], voxel_mm=(2.0, 2.0, 5.0))
    course = simulated.draw_course(rng, number, simulated.changing(k, number))
    findings = Findings(veins=0.0, clustered=0.15)
    head = simulated.draw_head(an.load(anatomy), preset, course, findings, rng)
    visits, truth, poses = [], [], []
    for session in range(number):
        own = np.random.default_rng(seed_of("perfect", seed, k, session))
        acquisition = aq.vary(preset, own)
        scan, tracks, pose = simulated.scan_session(
            head, acquisition, session, own, sub_mm=(2.0, 2.0, 2.5)
        )
        mask = wandering(scan.brain, preset.voxel_mm, own)
        label, scan_id = f"ses-{session + 1}", f"{name}_ses-{session + 1}_T2starw"
        rows = [
            {
                "scan_id": scan_id, "cohort": "perfect", "participant_id": name,
                "session_id": label, "source_id": n, "track_id": track, "kind": source.kind,
                "radius_mm": source.visible_mm,
                **dict(zip(("x_mm", "y_mm", "z_mm"), source.centre, strict=True)),
            }
            for n, (source, track) in enumerate(zip(scan.sources, tracks, strict=True), start=1)
            if source.kind in THERE
        ]  # fmt: skip
        truth += rows
        poses.append(pose)
        image = midspace.Session(scan.image / np.median(scan.image[mask]), mask, scan.affine)
        visits.append((_scan(name, label, scan_id), image, _all_found(rows, image)))
    pairs, errors = {}, []
    for i in range(number):
        for j in range(i + 1, number):
            pair = midspace.register_pair(visits[i][1], visits[j][1])
            pairs[i, j] = pair.motion
            errors.append(_error(visits[i][1], pair.motion, np.linalg.inv(poses[j]) @ poses[i]))
    turned = midspace.synchronise(pairs, np.array([image.centre for _, image, _ in visits]))
    together = [
        longitudinal.Visit(scan, image, pose, found)
        for (scan, image, found), pose in zip(visits, turned, strict=True)
    ]
    tracks = longitudinal.presence(name, together, settings, Rates(1.0, 0.5))
    followed = tables.FOLLOWED_SESSIONS.frame(
        [
            {"participant_id": name, "session_id": v.scan.session_id, "scan_id": v.scan.scan_id,
             "status": "followed"}
            for v in together
        ]
    )  # fmt: skip
    lesions = tracks[tracks["found"]].assign(macrohaemorrhage=False)
    scans = pd.DataFrame(
        [
            {"scan_id": v.scan.scan_id, "contrast": "GRE", "field_strength_t": 1.5, "status": "ok",
             "echo_time_s": 0.025, "slice_mm": 5.0, "voxel_x_mm": 2.0}
            for v in together
        ]
    )  # fmt: skip
    made, called = changes.of_cohort(tracks, followed, scans, lesions, pd.DataFrame(), settings)
    rows = schema.as_records(lesions[["scan_id", "lesion_id", "x_mm", "y_mm", "z_mm"]])
    return {"pairs": made, "changes": called, "lesions": rows, "truth": truth}, errors


def wandering(brain: np.ndarray, voxel_mm, rng: np.random.Generator) -> np.ndarray:
    """The mask with its edge moved by a smooth random distance, 1.5 mm (standard deviation)."""
    from scipy import ndimage

    voxel = np.asarray(voxel_mm)
    noise = ndimage.gaussian_filter(rng.normal(size=brain.shape), 8.0 / voxel)
    inside = ndimage.distance_transform_edt(brain, voxel)
    outside = ndimage.distance_transform_edt(~brain, voxel)
    # Distances are between voxels' centres: the edge lies half a voxel from both.
    half = voxel.min() / 2
    signed = np.where(brain, inside - half, half - outside)
    return signed + 1.5 * noise / noise.std() > 0


def _scan(name: str, session: str, scan_id: str) -> Scan:
    entities = (("sub", name.removeprefix("sub-")), ("ses", session.removeprefix("ses-")))
    return Scan(scan_id, "perfect", name, session, "T2starw", "GRE", Path(), entities)


def _all_found(rows: list[dict], image: midspace.Session) -> pd.DataFrame:
    """Candidates of a detector that finds every microbleed within the brain mask."""
    places = np.array([[row[f"{axis}_mm"] for axis in "xyz"] for row in rows]).reshape(-1, 3)
    _, brain = midspace.in_view(places, image.mask, image.affine)
    return tables.CANDIDATES.frame(
        [
            {name: row[name] for name in ("scan_id", "x_mm", "y_mm", "z_mm")}
            | {
                "candidate_id": n, "p_cnn": 1.0, "probability": 0.999, "kept": True,
                "label": "definite", "region": "unknown", "group": "unknown",
                "hemisphere": "unknown",
            }
            for n, row in enumerate(rows)
            if brain[n]
        ]
    )  # fmt: skip


def _error(image: midspace.Session, found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distances (n,) in mm of where the two motions take points of the brain."""
    points = np.argwhere(image.mask)[::200] @ image.affine[:3, :3].T + image.affine[:3, 3]
    difference = points @ (found - true)[:3, :3].T + (found - true)[:3, 3]
    return np.linalg.norm(difference, axis=1)


# --- a run ---


def of_run(layout: Layout, truth: pd.DataFrame) -> dict[str, Any]:
    """A run's `pairs`, `changes` and `lesions` against ``truth`` (``tables.TRACKED_TRUTH``)."""
    pairs = tables.PAIRS.read(layout.table("pairs"))
    pairs = pairs[pairs["scan_id_1"].isin(truth["scan_id"])]
    if pairs.empty:
        raise CMBurdenError(
            f"{layout.table('pairs')}: no pair of sessions of the truth was compared; "
            "run the cohort of `cmburden simulate --sessions` first"
        )
    called = tables.CHANGES.read(layout.table("changes"))
    return as_plain(score(pairs, called, tables.LESIONS.read(layout.table("lesions")), truth))


def read_truth(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, sep="\t", na_values=["n/a"])
        rows["kind"] = rows["kind"].fillna("none")
        return tables.TRACKED_TRUTH.frame(rows)
    except (OSError, ValueError, KeyError) as error:
        raise CMBurdenError(
            f"{path}: not a truth table of `cmburden simulate --sessions` ({error})"
        ) from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.perfect_changes")
    ways = parser.add_subparsers(required=True, dest="way", metavar="{perfect,real}")
    ideal = ways.add_parser("perfect", help="simulate; every microbleed is found")
    ideal.add_argument("--participants", type=int, default=20)
    ideal.add_argument("--sessions", type=int, default=3)
    ideal.add_argument("--anatomy", type=Path, help="folder of label maps; none: MNI152 template")
    ideal.add_argument("--people", help="label maps to use, first-last from 1")
    ideal.add_argument("--seed", type=int, default=0)
    real = ways.add_parser("real", help="a run over `cmburden simulate --sessions`")
    real.add_argument("derivatives", type=Path)
    real.add_argument("truth", type=Path)
    for way in (ideal, real):
        way.add_argument("--out", type=Path, required=True, help="folder for changes.json and .md")
    args = parser.parse_args(arguments)
    if args.way == "perfect":
        from cmburden.simulate.anatomy import available, selected

        maps = selected(available(args.anatomy), args.people)
        settings = config.load()["longitudinal"]
        results = perfect(args.participants, args.sessions, args.seed, maps, settings)
    else:
        results = iter([of_run(Layout(args.derivatives), read_truth(args.truth))])
    for result in results:
        write_json(args.out / f"changes_{args.way}.json", result)
        with whole_file(args.out / f"changes_{args.way}.md") as temporary:
            temporary.write_text(markdown(result), encoding="utf-8")
        if args.way == "perfect":
            print(f"{result['participants']} of {args.participants} participants", flush=True)
    print(markdown(result), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(told(main))
