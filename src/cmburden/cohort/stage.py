"""From records and shards to the cohort tables: every scan a row, whatever became of it.

Two runs over the same records give equal bytes, but for ``seconds`` of `runs`, which says how
long the computation took that made the result.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cmburden.cohort import changes, phenotypes
from cmburden.cohort import choose as burden
from cmburden.cohort import reviewed as measures
from cmburden.cohort import verdicts as settle
from cmburden.core.errors import REASONS, CMBurdenError, sentence
from cmburden.core.paths import BUCKET_STAGES, COHORT_TABLES, SCAN_STAGES, Layout
from cmburden.core.scan import Outcome, bucket_of, whole_file, write_json
from cmburden.core.tables import (
    ALL,
    CANDIDATES,
    CHANGES,
    COUNTS,
    LABELS,
    LESIONS,
    MANIFEST,
    PAIRS,
    PARQUET,
    PARTICIPANTS,
    REJECTED,
    REVIEW_COUNTS,
    REVIEWED,
    REVIEWS,
    RUNS,
    SCANS,
    SUMMARY,
)
from cmburden.models.contract import contract_of
from cmburden.space.regions import BY_NAME, REGIONS, UNKNOWN, pattern_of
from cmburden.summary import changes as changes_summary
from cmburden.summary import estimates as summary

STAGE = "aggregate"
VERSION = 2
_STAGES = (*SCAN_STAGES, *BUCKET_STAGES)
#: Reasons for which a file that would have been a scan is one that failed.
_FAULTS = ("unreadable", "empty_file", "truncated", "not_finite", "not_3d", "constant")
#: Candidates in memory at a time, about 300 bytes each with what sorting them takes.
_ROWS_AT_A_TIME = 400_000
#: Measures that stages leave in their records: the numbers of `scans` that are not counts.
_MEASURES = [column.name for column in SCANS.columns if column.kind == "float"]
#: What a participant takes over from the scan chosen.
_REVIEWED = tuple(column.name for column in REVIEW_COUNTS)
_OF_CHOSEN = (
    "scan_id", "session_id", "n_cmb", "n_possible", "n_macrohaemorrhage", "pattern", *_REVIEWED,
)  # fmt: skip
_log = logging.getLogger(__name__)


def run(layout: Layout, bids_dir: Path, config: dict[str, Any]) -> None:
    """Write cohort/*.parquet with their .json and work/candidates.parquet.

    Raises
    ------
    CMBurdenError
        Where the configuration cannot be used (before anything is written). Too many failed scans
        do not raise here but in ``check_failed_fraction``: the tables are to exist by then.
    """
    settings, shown = config["aggregate"], config["report"]
    burden.check_rules(settings["choose_scan"])
    burden.checked_edges(shown["bins"], "report.bins")
    burden.checked_edges(shown["age_bands"], "report.age_bands")
    manifest = MANIFEST.read(layout.manifest)
    rejected = REJECTED.read(layout.rejected) if layout.rejected.exists() else REJECTED.frame([])

    candidates, present = _candidates(layout, manifest)
    lesions = _lesions(candidates, manifest, settings["macrohaemorrhage_mm"])
    kept = candidates["scan_id"].value_counts().to_dict()
    scans = _scans(layout, manifest, rejected, present, kept, config)
    write_tables(layout, bids_dir, config, scans, lesions, rejected,
                 _runs(layout, manifest, config["buckets"]))  # fmt: skip


def write_tables(
    layout: Layout,
    bids_dir: Path,
    config: dict[str, Any],
    scans: pd.DataFrame,
    lesions: pd.DataFrame,
    rejected: pd.DataFrame,
    runs: list[dict[str, Any]],
) -> None:
    """Write cohort/*.parquet from `scans` without its counts and the `lesions` of all scans."""
    lesions = lesions[lesions["scan_id"].isin(scans.loc[scans["status"] == "ok", "scan_id"])]
    scans = _with_counts(scans, lesions)
    reviews = REVIEWS.read(layout.reviews) if layout.reviews.exists() else REVIEWS.frame([])
    verdicts = _verdicts(layout, reviews, scans)
    scans = SCANS.frame(_with_review(scans, lesions, verdicts))
    lesions = LESIONS.frame(lesions)
    known = phenotypes.read(Path(bids_dir), sorted(set(scans["participant_id"])))
    for problem in known.problems:
        _log.warning("%s", problem)
    participants = _participants(scans, lesions, known, config)

    manifest = MANIFEST.read(layout.manifest)
    tracks, followed = changes.gather(layout, manifest, config["buckets"])
    tracks = tracks[tracks["scan_id"].isin(scans.loc[scans["status"] == "ok", "scan_id"])]
    pairs, changed = changes.of_cohort(
        tracks, followed, scans, lesions, known.sessions, config["longitudinal"]
    )

    SCANS.write(layout.table("scans"), scans)
    LESIONS.write(layout.table("lesions"), lesions)
    COUNTS.write(layout.table("counts"), _counts(scans, lesions))
    PARTICIPANTS.write(layout.table("participants"), participants)
    PAIRS.write(layout.table("pairs"), pairs)
    CHANGES.write(layout.table("changes"), changed)
    REVIEWED.write(layout.table("reviewed"), verdicts.places)
    RUNS.write(layout.table("runs"), runs)
    persons = PARTICIPANTS.frame(participants)
    errors = measures.detector_errors(verdicts, scans)
    SUMMARY.write(
        layout.table("summary"),
        [
            *summary.estimates(scans, lesions, persons, rejected, config, errors),
            *changes_summary.estimates(PAIRS.frame(pairs), followed, persons, config),
            *measures.rows(verdicts, reviews, scans, lesions, config),
        ],
    )
    write_json(layout.phenotype_problems, known.problems)
    _write_sidecars(layout, participants, known.described)


def check_failed_fraction(layout: Layout, config: dict[str, Any]) -> None:
    """Raise where more scans failed than config ``aggregate.max_failed_fraction`` allows.

    Excluded scans are sound and outside what was asked for: they count neither way. To be called
    once the tables and the report exist, so that they can be looked at.
    """
    allowed = config["aggregate"]["max_failed_fraction"]
    status = SCANS.read(layout.table("scans"))["status"].value_counts()
    failed, tried = int(status.get("failed", 0)), int(status.get("failed", 0) + status.get("ok", 0))
    if tried and failed / tried > allowed:
        raise CMBurdenError(
            f"{failed} of {tried} scans failed ({failed / tried:.0%}), above "
            f"aggregate.max_failed_fraction {allowed:g}; see {layout.report} for the reasons"
        )


# --- candidates and lesions ---


def _candidates(layout: Layout, manifest: pd.DataFrame) -> tuple[pd.DataFrame, set[int]]:
    """Write work/candidates.parquet; return its kept rows and the buckets that have a shard.

    The candidates of a cohort are millions: each shard is dealt out to files of some scans each,
    and these are sorted one after another, so that no more than a part is in memory. The lesions
    among them are few.
    """
    paths = {int(b): layout.bucket("verify", b) for b in sorted(set(manifest["bucket"]))}
    paths = {bucket: path for bucket, path in paths.items() if path.exists()}
    rows = sum(_readable(path, pq.read_metadata).num_rows for path in paths.values())
    # Which scans are a part depends on the cohort alone: equal input, equal bytes.
    parts = max(1, -(-rows // _ROWS_AT_A_TIME))
    schema = CANDIDATES.schema()
    kept = [schema.empty_table()]
    with tempfile.TemporaryDirectory(prefix=".candidates-", dir=layout.work) as folder:
        files = [Path(folder) / f"{number}.arrow" for number in range(parts)]
        _deal_out(list(paths.values()), sorted(manifest["scan_id"]), files)
        with (
            whole_file(layout.candidates) as temporary,
            pq.ParquetWriter(temporary, schema, **PARQUET) as writer,
        ):
            for number, file in enumerate(files, start=1):
                part = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
                part = part.sort_by([(name, "ascending") for name in CANDIDATES.key])
                writer.write_table(part)
                kept.append(part.filter(pc.is_in(part["label"], value_set=pa.array(LABELS))))
                _log.info("candidates: part %d of %d", number, parts)
    return CANDIDATES.frame(pa.concat_tables(kept).to_pandas()), set(paths)


def _deal_out(shards: list[Path], scan_ids: list[str], files: list[Path]) -> None:
    """Write candidates of ``scan_ids`` (sorted) to ``files``, equally many scans to each.

    What a shard holds of scans that are no longer in the tree is left out.
    """
    schema, wanted = CANDIDATES.schema(), pa.array(scan_ids, pa.string())
    share = max(1, -(-len(scan_ids) // len(files)))
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_file(str(file), schema)) for file in files]
        for path in shards:
            shard = _readable(path, pq.read_table, columns=CANDIDATES.names, partitioning=None)
            place = pc.index_in(shard["scan_id"], value_set=wanted)
            there = place.is_valid()
            shard, place = shard.filter(there).cast(schema), pc.divide(place.filter(there), share)
            for number in place.unique().to_pylist():
                writers[number].write_table(shard.filter(pc.equal(place, number)))


def _readable(path: Path, read: Callable, **options):
    try:
        return read(path, **options)
    except (OSError, KeyError, pa.ArrowException) as error:
        if sentence(error):
            raise  # a closed folder: the table itself may be sound
        raise CMBurdenError(
            f"{path}: not a readable table of candidates ({error}); remove it and run again"
        ) from error


def _lesions(kept: pd.DataFrame, manifest: pd.DataFrame, largest_mm: float) -> pd.DataFrame:
    """Rows of `lesions` from the kept candidates."""
    lesions = kept.merge(
        manifest[["scan_id", "participant_id", "session_id"]], on="scan_id", validate="many_to_one"
    )
    lesions["lesion_id"] = burden.lesion_numbers(lesions)
    lesions["macrohaemorrhage"] = (lesions["diameter_mm"] > largest_mm).fillna(False)
    place = {"region": UNKNOWN.name, "group": UNKNOWN.group, "hemisphere": "unknown"}
    return lesions.fillna(place)[LESIONS.names]


# --- scans ---


def _scans(layout, manifest, rejected, present, kept, config) -> pd.DataFrame:
    """A row for every scan of the manifest, every faulty file, every participant without either."""
    ids = {stage: _model_id(config, stage) for stage in ("detect", "verify")}
    rows = []
    for scan in manifest.to_dict("records"):
        row = {name: scan[name] for name in SCANS.names if name in scan}
        row |= _fate(
            layout, scan["scan_id"], int(scan["bucket"]) in present, kept.get(scan["scan_id"], 0)
        )
        done = row.pop("done")
        row["detector_id"] = ids["detect"] if "detect" in done else None
        row["verifier_id"] = ids["verify"] if "verify" in done else None
        # The sidecar's values are the manifest's; a stage gives only what it measured.
        row |= {name: scan[name] for name in ("echo_time_s", "field_strength_t")}
        rows.append(row)
    cohorts = dict(zip(manifest["participant_id"], manifest["cohort"], strict=True))
    rows += _without_scan(rejected, {row["scan_id"] for row in rows}, cohorts)
    return pd.DataFrame(rows, columns=SCANS.names)


def _fate(layout: Layout, scan_id: str, has_shard: bool, kept: int) -> dict[str, Any]:
    """Status, reason, message, stage, log and measures: the first stage not ok decides.

    A run over other participants rewrites a bucket's shard without this scan (``kept`` is then
    less than its record says): that is a scan without a result, never one with 0 microbleeds.
    """
    fate: dict[str, Any] = {"status": "ok", "done": []}
    for stage in _STAGES:
        outcome = _outcome(layout, stage, scan_id)
        if outcome.ok and stage == "verify" and not has_shard:
            outcome = _not_run(stage, scan_id, "its bucket of candidates is missing")
        elif outcome.ok and stage == "verify" and outcome.measures.get("n_kept", kept) != kept:
            outcome = _not_run(stage, scan_id, "its bucket was made again without it")
        fate |= {name: outcome.measures[name] for name in _MEASURES if name in outcome.measures}
        if not outcome.ok:
            fate |= {
                "status": outcome.status,
                "reason": outcome.reason,
                "message": outcome.message,
                "stage": stage,
                "log": outcome.log,
            }
            break
        fate["done"].append(stage)
    return fate


def _outcome(layout: Layout, stage: str, scan_id: str) -> Outcome:
    try:
        return Outcome.read(layout.record(stage, scan_id))
    except FileNotFoundError:
        return _not_run(stage, scan_id, "no record")
    except (ValueError, TypeError) as error:
        return _not_run(stage, scan_id, f"its record cannot be read ({error})")


def _not_run(stage: str, scan_id: str, found: str) -> Outcome:
    message = f"{stage}: {found}. To do: {REASONS['not_run']}."
    return Outcome(stage, scan_id, "failed", "not_run", message)


def _without_scan(rejected, taken, cohorts) -> list[dict[str, Any]]:
    """Rows for files that would be scans were they sound, and for participants with no scan.

    A participant without any scan gets one row, scan_id ``sub-X_noscan``, so that the rows of the
    table hold everybody of the tree.
    """
    rows = []
    somebody = set(cohorts)
    for file in rejected[rejected["reason"].isin(_FAULTS)].to_dict("records"):
        scan_id = Path(str(file["path"])).name.split(".")[0]
        if scan_id in taken or pd.isna(file["participant_id"]):
            continue
        taken.add(scan_id)
        somebody.add(file["participant_id"])
        rows.append(_rejected_row(file, scan_id, "failed", file["reason"], cohorts))
    others = rejected[
        rejected["participant_id"].notna() & ~rejected["participant_id"].isin(somebody)
    ]
    for participant, files in others.groupby("participant_id", sort=True):
        first = _telling(files)
        row = _rejected_row(first, f"{participant}_noscan", "excluded", first["reason"], cohorts)
        rows.append(row | {"path": None, "session_id": None})
    return rows


def _telling(files: pd.DataFrame) -> dict[str, Any]:
    """The row of `rejected` that says why a participant has no scan."""
    for reason in ("filtered", "cohort"):
        chosen = files[files["reason"] == reason]
        if len(chosen) == len(files):
            return chosen.iloc[0].to_dict()
    chosen = files[files["reason"] == "no_scan"]
    if len(chosen):
        return chosen.iloc[0].to_dict()
    found = ", ".join(
        f"{count} {reason}" for reason, count in files["reason"].value_counts().items()
    )
    message = f"None of its {len(files)} image(s) is a scan ({found}). To do: {REASONS['no_scan']}."
    return files.iloc[0].to_dict() | {"reason": "no_scan", "message": message}


def _rejected_row(file, scan_id, status, reason, cohorts) -> dict[str, Any]:
    return {
        "scan_id": scan_id,
        "cohort": _cohort_of(file, cohorts),
        "participant_id": file["participant_id"],
        "session_id": file["session_id"],
        "path": file["path"],
        "status": status,
        "reason": reason,
        "message": file["message"],
        "stage": "index",
    }


def _cohort_of(file: dict[str, Any], cohorts: dict[str, str]) -> str:
    """Cohort of a row of `rejected`: as indexed, else that of the participant's scans."""
    known = file["cohort"]
    if not pd.isna(known):
        return known
    names = set(cohorts.values())
    alone = names.pop() if len(names) == 1 else "unknown"
    return cohorts.get(file["participant_id"], alone)


def _with_counts(scans: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """`scans` with counts and pattern: 0 where a scan was read and holds none, else null."""
    small = lesions[~lesions["macrohaemorrhage"]]
    definite = small[small["label"] == "definite"]
    read = scans["status"] == "ok"

    def counted(rows: pd.DataFrame) -> pd.Series:
        number = scans["scan_id"].map(rows.groupby("scan_id").size())
        return number.astype("Float64").fillna(0).astype("Int64").where(read)

    groups = definite.groupby("scan_id")["group"].agg(list).to_dict()
    pattern = [
        pattern_of(groups.get(scan_id, [])) if ok else None
        for scan_id, ok in zip(scans["scan_id"], read, strict=True)
    ]
    large = lesions[lesions["macrohaemorrhage"] & (lesions["label"] == "definite")]
    return scans.assign(
        n_cmb=counted(definite),
        n_possible=counted(small[small["label"] == "possible"]),
        n_macrohaemorrhage=counted(large),
        pattern=pattern,
    )


def _verdicts(layout: Layout, reviews: pd.DataFrame, scans: pd.DataFrame) -> settle.Verdicts:
    """What readers decided, on the candidates just written."""
    if not len(reviews):
        return settle.settle(reviews, CANDIDATES.frame([]), scans)
    candidates = settle.candidates_of(layout, set(reviews["scan_id"]))
    verdicts = settle.settle(reviews, candidates, scans)
    for scan_id in verdicts.outdated:
        _log.warning(
            "%s: its image or sidecar changed since it was reviewed; these decisions are left out, "
            "review it again",
            scan_id,
        )
    return verdicts


def _with_review(scans, lesions, verdicts: settle.Verdicts) -> pd.DataFrame:
    """`scans` with what readers made of each; null everywhere where nobody reviews the cohort."""
    scans = scans.merge(verdicts.counts, on="scan_id", how="left", suffixes=("_unset", ""))
    if len(verdicts.counts):
        read = scans["status"] == "ok"
        waiting = scans["scan_id"].map(lesions.groupby("scan_id").size()).fillna(0)
        for name, otherwise in (("n_readers", 0), ("n_reviewed", 0), ("n_review_open", waiting)):
            scans[name] = scans[name].fillna(otherwise).where(read)
    scans = scans.astype(dict.fromkeys(_REVIEWED, "Int64"))
    return scans[[name for name in SCANS.names if name in scans]]


def _counts(scans: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """scan x region x hemisphere; the sum over a scan is its n_cmb and n_possible."""
    places = [(region.name, side) for region in REGIONS for side in ("left", "right")]
    places.append((UNKNOWN.name, "unknown"))
    small = lesions[~lesions["macrohaemorrhage"]]
    seen = set(zip(small["region"], small["hemisphere"], strict=True))
    places += sorted(seen - set(places))
    images = scans[scans["path"].notna()]
    grid = images[["scan_id", "status"]].merge(
        pd.DataFrame(places, columns=["region", "hemisphere"]), how="cross"
    )
    for label in ("definite", "possible"):
        keys = ["scan_id", "region", "hemisphere"]
        number = small[small["label"] == label].groupby(keys).size().rename(f"n_{label}")
        grid = grid.merge(number.reset_index(), on=keys, how="left")
        grid[f"n_{label}"] = (
            grid[f"n_{label}"]
            .astype("Float64")
            .fillna(0)
            .astype("Int64")
            .where(grid["status"] == "ok")
        )
    groups = {name: region.group for name, region in BY_NAME.items()}
    grid["group"] = grid["region"].map(groups).fillna(UNKNOWN.group)
    return grid[COUNTS.names]


# --- participants ---


def _participants(scans, lesions, known, config: dict[str, Any]) -> pd.DataFrame:
    """One row a participant of the tree, with the scan that stands for them and phenotypes."""
    rules, suffixes = config["aggregate"]["choose_scan"], list(config["index"]["suffixes"])
    shown = config["report"]
    times = _session_times(known.sessions)
    of_person: dict[str, list[dict[str, Any]]] = {}
    for scan in scans.to_dict("records"):
        of_person.setdefault(scan["participant_id"], []).append(scan)
    rows = []
    for participant, own in sorted(of_person.items()):
        row = {
            "participant_id": participant,
            "n_scans": sum(not pd.isna(scan["path"]) for scan in own),
        }
        usable = [
            scan | {"acq_time": times.get((participant, scan["session_id"]))}
            for scan in own
            if scan["status"] == "ok"
        ]
        if usable:
            chosen, why = burden.choose_scan(usable, rules, suffixes)
            row |= {"chosen_because": why} | {name: chosen[name] for name in _OF_CHOSEN}
        else:
            chosen = _furthest(own)
            row["chosen_because"] = f"no usable scan: {chosen['reason']}"
            row["missing_reason"] = chosen["reason"]
        rows.append(row | {"cohort": chosen["cohort"], "contrast": chosen["contrast"]})
    participants = pd.DataFrame(rows, columns=PARTICIPANTS.names)
    definite = lesions[(lesions["label"] == "definite") & ~lesions["macrohaemorrhage"]]
    groups = definite.groupby("scan_id")["group"].agg(list).to_dict()
    participants["boston_imaging"] = [
        None if pd.isna(scan_id) else burden.is_boston_imaging(groups.get(scan_id, []))
        for scan_id in participants["scan_id"]
    ]
    participants["cmb_bin"] = burden.binned(
        participants["n_cmb"], shown["bins"], burden.bin_labels(shown["bins"])
    )
    participants = _with_phenotypes(participants, known)
    bands = shown["age_bands"]
    participants["age_band"] = burden.binned(
        participants["age"], bands, burden.age_band_labels(bands)
    )
    return participants


def _furthest(own: list[dict[str, Any]]) -> dict[str, Any]:
    """The unusable scan that got furthest: what kept the participant out."""
    order = {stage: number for number, stage in enumerate(("index", *_STAGES))}
    return min(own, key=lambda scan: (-order.get(scan["stage"], -1), scan["scan_id"]))


def _session_times(sessions: pd.DataFrame) -> dict[tuple[str, str], str]:
    if "acq_time" not in sessions:
        return {}
    timed = sessions[sessions["acq_time"].notna()]
    return {
        (row.participant_id, row.session_id): str(row.acq_time)
        for row in timed[["participant_id", "session_id", "acq_time"]].itertuples()
    }


def _with_phenotypes(participants: pd.DataFrame, known: phenotypes.Phenotypes) -> pd.DataFrame:
    """All columns of participants.tsv, and those of the chosen session as ``session_*``.

    A column of theirs whose name is ours but not meant alike is kept as ``phenotype_*``.
    """
    shared = ("age", "sex", "site", "diagnosis")
    taken = set(PARTICIPANTS.names) - set(shared) - {"participant_id"}
    theirs = known.participants.rename(columns={n: f"phenotype_{n}" for n in taken})
    merged = participants.drop(columns=list(shared)).merge(theirs, on="participant_id", how="left")
    sessions = known.sessions
    if len(sessions):
        renamed = sessions.rename(
            columns={
                name: f"session_{name}"
                for name in sessions.columns
                if name not in ("participant_id", "session_id")
            }
        )
        merged = merged.merge(renamed, on=["participant_id", "session_id"], how="left")
        for name in shared:
            if f"session_{name}" in merged:
                values = merged.pop(f"session_{name}")
                merged[name] = values.fillna(merged[name]) if name in merged else values
    for name in shared:
        if name not in merged:
            merged[name] = pd.Series([None] * len(merged), dtype="object")
    merged["age"] = merged["age"].astype("Float64")
    extra = [name for name in merged.columns if name not in PARTICIPANTS.names]
    # Arrow stores both of pandas' text types alike only when told.
    text = {name: object for name in extra if pd.api.types.is_string_dtype(merged[name])}
    return merged[[*PARTICIPANTS.names, *extra]].astype(text)


# --- runs and sidecars ---


def _runs(layout: Layout, manifest: pd.DataFrame, number: int) -> list[dict[str, Any]]:
    """Run records of the stages: of the manifest's scans and buckets, and of the cohort's stages.

    A record of a scan that is no longer in the tree is left out.
    """
    scan_ids = set(manifest["scan_id"])
    buckets = {str(bucket) for bucket in manifest["bucket"]}
    people = {str(bucket_of(name, number)) for name in changes.with_several(manifest)}
    rows = []
    for path in sorted((layout.work / "runs").glob("*/*.json")):
        row = json.loads(path.read_text())
        stage, unit = row["stage"], str(row["unit"])
        if stage in SCAN_STAGES and unit not in scan_ids:
            continue
        if stage in BUCKET_STAGES and unit.removeprefix("bucket-") not in buckets:
            continue
        if stage == "longitudinal" and unit.removeprefix("bucket-") not in people:
            continue
        if stage in (STAGE, "report"):
            continue  # they come after this table: their record is that of the run before
        rows.append(row)
    return rows


def _model_id(config: dict[str, Any], stage: str) -> str | None:
    """Id of the stage's model by its contract; None where the folder has none."""
    contract = contract_of(config, stage)
    return contract.get("id") if contract else None


def _write_sidecars(layout: Layout, participants: pd.DataFrame, described: dict[str, str]) -> None:
    for name in COHORT_TABLES:
        content = ALL[name].sidecar()
        if name == "participants":
            for column in participants.columns:
                source = column.removeprefix("session_").removeprefix("phenotype_")
                file = "sessions.tsv" if column.startswith("session_") else "participants.tsv"
                content.setdefault(
                    column, {"Description": described.get(source, f"Column of {file}")}
                )
        write_json(layout.table_sidecar(name), content)
