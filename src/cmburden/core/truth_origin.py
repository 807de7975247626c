"""Where a table of truth comes from: a file beside it states it (``truth.json`` of ``truth.tsv``).

Who writes a table of truth states its origin. A page then says "simulated" of simulated scans, and
of those alone. Where nothing is stated, the page says so.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.core.foreign import UnreadableFile, read_json_object

#: Origins of a table of truth.
SIMULATED, READERS, UNSTATED = "simulated", "readers", "unstated"
#: Key of the statement.
ORIGIN = "Origin"


def statement_of(truth: Path) -> Path:
    """The file that states the origin of the table ``truth``.

    >>> statement_of(Path("out/truth.tsv")).as_posix()
    'out/truth.json'
    """
    return truth.with_suffix(".json")


def state(truth: Path, origin: str, description: str) -> None:
    """Write the statement beside ``truth``: ``origin`` is ``SIMULATED`` or ``READERS``."""
    write_json(statement_of(truth), {ORIGIN: origin, "Description": description})


def origin_of(truth: Path, rows: pd.DataFrame) -> str:
    """``SIMULATED``, ``READERS`` or ``UNSTATED``: the origin of the table ``truth``, of ``rows``.

    Without a statement, a table is of simulated scans where it names a susceptibility: no reader
    sees one. Raises CMBurdenError where the statement cannot be understood.
    """
    path = statement_of(truth)
    if path.exists():
        try:
            origin = read_json_object(path).get(ORIGIN)
        except UnreadableFile as error:
            raise CMBurdenError(
                f"{path}: cannot be read ({error}); write the truth again, or remove this file"
            ) from error
        if origin not in (SIMULATED, READERS):
            raise CMBurdenError(
                f"{path}: {ORIGIN} is {origin!r}, not {SIMULATED} or {READERS}; mend it, or remove "
                "this file"
            )
        return str(origin)
    named = "susceptibility_ppm" in rows and rows["susceptibility_ppm"].notna().any()
    return SIMULATED if named else UNSTATED
