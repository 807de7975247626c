"""`cmburden forget`: removes a participant who has withdrawn from the output folder."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import yaml

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import whole_file
from cmburden.core.keys import hash_of
from cmburden.core.manifest import read_scans
from cmburden.core.paths import COHORT_TABLES, Layout
from cmburden.core.scan import Scan
from cmburden.core.stages import (
    BUCKET_STAGES,
    DETECT,
    LONGITUDINAL,
    SCAN_STAGES,
    VERIFY,
    version_of,
)
from cmburden.core.tables import MANIFEST, REJECTED
from cmburden.run import options
from cmburden.run.lock import only_run
from cmburden.run.traces import IMAGES, Traces

#: What the command cannot reach.
REMAINS = (
    "What is left to you: the raw BIDS folder (a run on it would process {id} again: remove the "
    "participant there, or name the others with --participant-label), participants.tsv, copies of "
    "pages, tables and reviews that left this folder, backups, and SLURM's accounting."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("participant", metavar="sub-LABEL", help="who has withdrawn")
    options.add_output_dir(parser)
    parser.add_argument("-n", "--dry-run", action="store_true", help="count, and remove nothing")


def main(args: argparse.Namespace) -> int:
    """Forget the participant of ``args``; returns the exit code."""
    layout = Layout(args.output_dir)
    if not layout.work.is_dir():
        raise CMBurdenError(f"{layout.root}: nothing was run here yet; name an output folder")
    participant = "sub-" + args.participant.removeprefix("sub-")
    if not participant[4:] or participant != Path(participant).name:
        raise CMBurdenError(f"{args.participant}: no participant's id; give it as sub-LABEL")
    with only_run(layout):
        counts = forget(layout, participant, dry=args.dry_run)
    if not counts:
        print(f"Nothing in {layout.root} names {participant}.")
        return 0
    print(f"{participant}: " + ("would be removed:" if args.dry_run else "removed:"))
    for what, number in sorted(counts.items()):
        print(f"  {number:>6} {what}")
    if not args.dry_run:
        print("Tables and report are gone too: cmburden run makes them again, without inference.")
    print(REMAINS.format(id=participant))
    return 0


def forget(layout: Layout, participant: str, *, dry: bool = False) -> Counter[str]:
    """Remove all that names ``participant`` below the output folder; counts of what was removed.

    Shards of buckets and marks of batches that held the participant are removed, and so are tables
    and report, since their numbers count the participant: a run makes them again. The files of
    other participants stay as they are. After a stop in the middle, the same call goes on.
    """
    traces = Traces(participant, _others(layout, participant))
    counts: Counter[str] = Counter()
    whole = {
        "cached results": _caches(layout, participant, traces),
        # A shard without the rows of one scan would not be that of its bucket.
        "shards of buckets": _naming(_shards(layout), traces),
        # Nor would a mark be that of its batch: the next run writes it, and makes no scan again.
        "marks of batches": _naming(_marks(layout), traces),
        "files of the participant": {p for p in _walk(layout, traces) if traces.named_by(p)},
    }
    remade = set(_remade(layout))
    removed = remade.union(*whole.values())
    contents = [path for path in _contents(layout, traces) if path not in removed]
    counted = any(traces.clean(path, dry=True) for path in remade)
    for what, paths in whole.items():
        counts[what] += sum(_remove(path, dry) for path in sorted(paths))
    for path in contents:
        counts.update(_cleaned(path, layout, participant, traces, dry))
    if +counts or counted:
        counts["tables and pages of the cohort"] += sum(_remove(p, dry) for p in sorted(remade))
    return +counts


def _naming(paths: Iterator[Path], traces: Traces) -> set[Path]:
    """Those of ``paths`` whose content names the participant."""
    return {path for path in paths if traces.clean(path, dry=True)}


def _cleaned(
    path: Path, layout: Layout, participant: str, traces: Traces, dry: bool
) -> dict[str, int]:
    """Take the participant out of the content of ``path``; what was taken out, counted."""
    cleaned = _clean_config(path, participant, dry) if path == layout.config else None
    if cleaned := cleaned or traces.clean(path, dry=dry):
        number, what = cleaned.split(" ", 1)
        return {what: int(number)}
    return {}


def _others(layout: Layout, participant: str) -> set[str]:
    """Ids of all other participants that the output folder knows."""
    ids = {path.name for path in layout.root.glob("sub-*") if path.is_dir()}
    for contract, path in ((MANIFEST, layout.manifest), (REJECTED, layout.rejected)):
        if path.exists():
            ids |= set(contract.read(path)["participant_id"].dropna())
    return ids - {participant}


def _walk(layout: Layout, traces: Traces) -> Iterator[Path]:
    """All files and folders; no folder of the participant is entered.

    No link is followed but that of ``--work-dir``.
    """
    roots = [layout.root, *([layout.work] if layout.work.is_symlink() else [])]
    for root in roots:
        for folder, folders, files in os.walk(root):
            yield from (Path(folder, name) for name in (*folders, *files))
            folders[:] = [name for name in folders if not traces.named_by(Path(name))]


def _contents(layout: Layout, traces: Traces) -> Iterator[Path]:
    """Files whose content may name the participant: none in the folders of the others."""
    for path in list(_walk(layout, traces)):
        of_another = (
            len(parts := path.relative_to(layout.root).parts) > 1 and parts[0][:4] == "sub-"
        )
        # SQLite's own files beside a database hold commits: SQLite alone may remove them.
        of_sqlite = path.name.endswith(("-wal", "-shm", "-journal"))
        skipped = of_another or of_sqlite or path.suffix in IMAGES or path.is_symlink()
        if path.is_file() and not skipped:
            yield path


def _shards(layout: Layout) -> Iterator[Path]:
    for stage in (*BUCKET_STAGES, LONGITUDINAL.name):
        yield from sorted(layout.bucket(stage, 0).parent.glob("*.parquet"))


def _marks(layout: Layout) -> Iterator[Path]:
    for stage in SCAN_STAGES:
        yield from sorted(layout.batch(stage, "x").parent.glob("batch-*.json"))


def _remade(layout: Layout) -> Iterator[Path]:
    """Files that count all participants and that a run makes again."""
    yield from (path for path in map(layout.table, COHORT_TABLES) if path.exists())
    pages = (
        layout.report,
        layout.shareable,
        layout.candidates,
        layout.checked,
        layout.phenotype_problems,
        layout.inserted_table("insertion"),
        layout.insertion,
        layout.inserted_examples,
    )
    yield from (path for path in pages if path.exists())
    # An export elsewhere is a copy that left the folder.
    exports = (layout.export, layout.shareable_export)
    yield from (path for path in exports if path.exists())


def _caches(layout: Layout, participant: str, traces: Traces) -> set[Path]:
    """Cached results of the participant's scans. Their names are hashes: the ids are within, or the
    hashes are computed again."""
    root = layout.cached(DETECT.name, "").parent.parent
    keys = {path.stem for path in root.rglob("*.parquet") if traces.clean(path, dry=True)}
    keys -= {path.stem for path in (layout.index_cache,)}
    for record in layout.record(DETECT.name, "x").parent.glob("*.json"):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            key = json.loads(record.read_text(encoding="utf-8"))["measures"]["cache_key"]
            # A scan of equal content of another participant may use the same entry.
            keys = keys | {key} if traces.named_by(record) else keys - {key}
    paths = {layout.cached(DETECT.name, key, end) for key in keys for end in ("parquet", "npz")}
    versions = range(1, version_of(VERIFY.name) + 1)
    for version, key, weights in product(versions, keys, _weights_in_use(layout)):
        paths.add(layout.cached(VERIFY.name, hash_of(version, key, weights), "npz"))
    paths |= {layout.cached(LONGITUDINAL.name, key) for key in keys}
    paths |= set(_pairs(layout, participant))
    return {path for path in paths if path.exists()}


def _weights_in_use(layout: Layout) -> set[str]:
    """Checksums of the verifiers that ran here, from the run files."""
    checksums = set()
    for path in layout.run_record(VERIFY.name, "x").parent.glob("*.json"):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            checksums.add(json.loads(path.read_text(encoding="utf-8"))["weights_sha256"])
    return checksums - {None}


def _pairs(layout: Layout, participant: str) -> Iterator[Path]:
    """Cached registrations between two sessions of the participant."""
    from cmburden.follow import midspace
    from cmburden.images.prepared import checksums

    scans = [s for s in _scans(layout) if s.participant_id == participant]
    scans = [s for s in scans if layout.preproc(s).exists() and layout.brain_mask(s).exists()]
    for one, other in combinations(scans, 2):
        for first, second in ((one, other), (other, one)):
            hashes = [*checksums(first, layout), *checksums(second, layout)]
            key = hash_of("pair", midspace.VERSION, hashes)
            yield layout.cached(LONGITUDINAL.name, key, "json")


def _scans(layout: Layout) -> list[Scan]:
    return read_scans(layout.manifest, layout.root) if layout.manifest.exists() else []


def _clean_config(path: Path, participant: str, dry: bool) -> str | None:
    """Take the participant out of ``participant_label`` of the last run's configuration."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    labels = config.get("participant_label") or [] if isinstance(config, dict) else []
    kept = [label for label in labels if "sub-" + str(label).removeprefix("sub-") != participant]
    if kept == labels:
        return None
    if not dry:
        with whole_file(path) as temporary:
            text = yaml.safe_dump(config | {"participant_label": kept}, sort_keys=False)
            temporary.write_text(text, encoding="utf-8")
    return f"{len(labels) - len(kept)} labels of the configuration"


def _remove(path: Path, dry: bool) -> int:
    """Remove a file, or a folder with all in it; the number of files."""
    if not path.is_dir() or path.is_symlink():
        if not dry:
            path.unlink(missing_ok=True)
        return 1
    number = sum(len(files) for _, _, files in os.walk(path))
    if not dry:
        shutil.rmtree(path)
    return max(number, 1)
