"""Candidates of all scans, sorted in parts, and the lesions among them."""

from __future__ import annotations

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

from cmburden.core.errors import DamagedFile, sentence
from cmburden.core.files import whole_file
from cmburden.core.keys import lesion_numbers
from cmburden.core.paths import Layout
from cmburden.core.schema import PARQUET
from cmburden.core.tables import (
    CANDIDATES,
    LABELS,
    LESIONS,
)
from cmburden.space.regions import UNKNOWN

_log = logging.getLogger(__name__)


#: Candidates in memory at a time. A candidate takes about 300 bytes while it is sorted.
ROWS_AT_A_TIME = 400_000


def gather_candidates(layout: Layout, manifest: pd.DataFrame) -> tuple[pd.DataFrame, set[int]]:
    """Write work/candidates.parquet; return its lesions and the buckets that have a shard.

    A cohort has millions of candidates and few lesions. Each shard is dealt out to files of some
    scans each. The files are sorted one after another, so that one part is in memory at a time.

    Raises
    ------
    CMBurdenError
        Where a shard is not a readable table.
    """
    paths = {int(b): layout.bucket("verify", b) for b in sorted(set(manifest["bucket"]))}
    paths = {bucket: path for bucket, path in paths.items() if path.exists()}
    scans_of = {
        bucket: sorted(own["scan_id"])
        for bucket, own in manifest.groupby("bucket")
        if bucket in paths
    }
    rows = sum(_readable(path, pq.read_metadata).num_rows for path in paths.values())
    # The scans of a part depend on the cohort alone: equal input, equal bytes.
    parts = max(1, -(-rows // ROWS_AT_A_TIME))
    schema = CANDIDATES.schema()
    lesions = [schema.empty_table()]
    with tempfile.TemporaryDirectory(prefix=".candidates-", dir=layout.work) as folder:
        files = [Path(folder) / f"{number}.arrow" for number in range(parts)]
        shards = {paths[bucket]: own for bucket, own in scans_of.items()}
        _deal_out(shards, sorted(manifest["scan_id"]), files)
        with (
            whole_file(layout.candidates) as temporary,
            pq.ParquetWriter(temporary, schema, **PARQUET) as writer,
        ):
            for number, file in enumerate(files, start=1):
                part = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
                part = part.sort_by([(name, "ascending") for name in CANDIDATES.key])
                writer.write_table(part)
                lesions.append(part.filter(pc.is_in(part["label"], value_set=pa.array(LABELS))))
                _log.info("candidates: part %d of %d", number, parts)
    return CANDIDATES.frame(pa.concat_tables(lesions).to_pandas()), set(paths)


def _deal_out(shards: dict[Path, list[str]], scan_ids: list[str], files: list[Path]) -> None:
    """Write candidates of ``scan_ids`` (sorted) to ``files``, equally many scans to each.

    ``shards`` names the scans of each shard's bucket. Other rows are left out: of scans that are no
    longer in the tree, and of scans of another bucket, which a shard of a run with another number
    of buckets holds.
    """
    schema, wanted = CANDIDATES.schema(), pa.array(scan_ids, pa.string())
    share = max(1, -(-len(scan_ids) // len(files)))
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_file(str(file), schema)) for file in files]
        for path, of_bucket in shards.items():
            shard = _readable(path, pq.read_table, columns=CANDIDATES.names, partitioning=None)
            own = pa.array(of_bucket, pa.string())
            shard = shard.filter(pc.is_in(shard["scan_id"], value_set=own))
            place = pc.index_in(shard["scan_id"], value_set=wanted)
            indexed = place.is_valid()
            shard = shard.filter(indexed).cast(schema)
            place = pc.divide(place.filter(indexed), share)
            for number in place.unique().to_pylist():
                writers[number].write_table(shard.filter(pc.equal(place, number)))


def _readable(path: Path, read: Callable[..., Any], **options: Any) -> Any:
    try:
        return read(path, **options)
    except (OSError, KeyError, pa.ArrowException) as error:
        if sentence(error):
            raise  # a closed folder: the table itself may be sound
        raise DamagedFile(
            path, f"not a readable table of candidates: {error}", "remove it and run again"
        ) from error


def lesions_of(candidates: pd.DataFrame, manifest: pd.DataFrame, largest_mm: float) -> pd.DataFrame:
    """Rows of `lesions` from the definite and possible ``candidates``.

    A lesion whose diameter is above ``largest_mm`` is a macrohaemorrhage.
    """
    lesions = candidates.merge(
        manifest[["scan_id", "participant_id", "session_id"]], on="scan_id", validate="many_to_one"
    )
    lesions["lesion_id"] = lesion_numbers(lesions)
    lesions["macrohaemorrhage"] = (lesions["diameter_mm"] > largest_mm).fillna(False)
    place = {"region": UNKNOWN.name, "group": UNKNOWN.group, "hemisphere": "unknown"}
    return lesions.fillna(place)[LESIONS.names]
