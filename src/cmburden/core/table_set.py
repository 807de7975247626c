"""The cohort's tables as one set: replaced together, marked last, checked by those who read them.

A set has a mark, ``cohort/set.json``: a key, the checksum of each table, and the part of the cohort
that the tables hold. A run that is killed between two tables leaves a mark that does not fit. No
reader then takes the tables for a result, and the next run makes them again.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import sha256_of_file, write_json
from cmburden.core.keys import hash_of
from cmburden.core.paths import COHORT_TABLES, Layout

#: Start of the name of the folder that holds new tables until all are written.
_NEW = ".part-tables-"
#: The table that differs between runs of equal input: it holds seconds.
_NOT_IN_KEY = "runs"

Selection = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Mark:
    """Content of ``cohort/set.json``.

    Attributes
    ----------
    key : str
        sha256 over settings, selection and tables. Equal results have equal keys.
    tables : dict
        Name -> sha256 of the file.
    selection : dict or None
        What the run was asked for (:func:`selection_of`); None for the whole cohort.
    part : str or None
        The sentence that names the part of the cohort; None for the whole cohort.
    """

    key: str
    tables: dict[str, str]
    selection: Selection | None = None
    part: str | None = None


def selection_of(config: dict[str, Any]) -> Selection | None:
    """What ``config`` asks for: labels, and the checksum of the filter file. None for everybody."""
    chosen: Selection = {
        key: sorted(str(label) for label in config[key])
        for key in ("participant_label", "session_label")
        if config[key]
    }
    if config["bids_filter_file"]:
        path = Path(config["bids_filter_file"])
        chosen["bids_filter"] = sha256_of_file(path) if path.is_file() else str(path)
    return chosen or None


def read(layout: Layout) -> Mark | None:
    """The mark of the tables; None where there is none, or where it cannot be read."""
    try:
        return Mark(**json.loads(layout.table_set.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def exists(layout: Layout) -> bool:
    """Whether there is a cohort table at all."""
    return any(layout.table(name).exists() for name in COHORT_TABLES)


def faults(layout: Layout) -> list[str]:
    """Names of tables that are not those of the mark; all that exist where there is no mark."""
    mark = read(layout)
    if mark is None:
        return [name for name in COHORT_TABLES if layout.table(name).exists()]
    return [
        name
        for name in sorted({*COHORT_TABLES, *mark.tables})
        if _sum(layout.table(name)) != mark.tables.get(name)
    ]


def _sum(path: Path) -> str | None:
    return sha256_of_file(path) if path.exists() else None


def check(layout: Layout) -> Mark | None:
    """The mark of the tables; None where there are no tables.

    Raises
    ------
    CMBurdenError
        If the tables are not of one set.
    """
    if not exists(layout) and read(layout) is None:
        return None
    wrong = faults(layout)
    if wrong:
        raise CMBurdenError(
            f"{layout.cohort}: {', '.join(wrong)} and the other tables are not of one run (a run "
            "was stopped while it wrote them, or a table was changed); make all of them again: "
            f"cmburden run BIDS_DIR {layout.root} group"
        )
    return read(layout)


def give_up_if_torn(layout: Layout) -> bool:
    """If the tables are not of one set, let the next run make them again; returns whether so.

    The tables stay until then.
    """
    if not exists(layout) and not layout.table_set.exists():
        return False
    if not faults(layout):
        return False
    for path in (layout.aggregated, layout.checked):
        path.unlink(missing_ok=True)
    return True


@contextmanager
def replaced(
    layout: Layout,
    settings: str,
    selection: Selection | None = None,
    part: str | None = None,
) -> Iterator[Path]:
    """Yield an empty folder for all tables and sidecars; then move them to ``cohort/`` and mark.

    Nothing in ``cohort/`` changes before the last table is written. ``settings`` is a hash of what
    the tables were made with.
    """
    layout.cohort.mkdir(parents=True, exist_ok=True)
    for left in layout.cohort.glob(f"{_NEW}*"):
        shutil.rmtree(left, ignore_errors=True)  # of a job that was killed
    folder = Path(tempfile.mkdtemp(prefix=_NEW, dir=layout.cohort))
    try:
        yield folder
        tables = {name: folder / layout.table(name).name for name in COHORT_TABLES}
        sums = {name: sha256_of_file(path) for name, path in tables.items()}
        in_key = {name: value for name, value in sums.items() if name != _NOT_IN_KEY}
        mark = Mark(hash_of(settings, selection, in_key), sums, selection, part)
        for path in sorted(folder.iterdir()):
            path.replace(layout.cohort / path.name)
        write_json(layout.table_set, dataclasses.asdict(mark))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seal(layout: Layout, part: str | None = None) -> None:
    """Mark the tables as they are, for code that writes tables itself."""
    sums = {
        name: sha256_of_file(layout.table(name))
        for name in COHORT_TABLES
        if layout.table(name).exists()
    }
    write_json(layout.table_set, dataclasses.asdict(Mark(hash_of(sums), sums, None, part)))
