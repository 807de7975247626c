"""The names of all files that a tuning writes below MODELS."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

from cmburden.core.paths import Layout


class Places:
    """Names of the files of a tuning.

    >>> Places(Path("tuned")).network("without-0").as_posix()
    'tuned/work/networks/without-0'
    """

    def __init__(self, models: Path):
        self.root = Path(models)
        #: Scans and labels of people: not to be passed on.
        self.work = self.root / "work"
        self.plan = self.work / "plan.json"
        self.lock = self.work / ".lock"
        #: Rows of the truth table of scans that the run has read.
        self.truth = self.work / "truth.tsv"
        #: Those of the scans that were learnt from.
        self.measured = self.work / "measured.tsv"
        self.slabs = self.work / "slabs"
        self.before = self.root / "evaluation" / "before"
        self.after = self.root / "evaluation" / "after"
        self.result = self.root / "tuning.json"
        self.page = self.root / "tuning.md"

    def model(self, kind: str) -> Path:
        """Folder of the released ``detector`` or ``verifier``."""
        return self.root / kind

    def network(self, name: str) -> Path:
        """Folder of the networks called ``name`` (:func:`name_of`)."""
        return self.work / "networks" / name

    def fitted(self, name: str) -> Path:
        """Probability and thresholds for the networks called ``name``."""
        return self.work / "fitted" / f"{name}.json"

    def unseen(self, name: str) -> Layout:
        """Results on people that their networks had not seen, as the output folder of a run."""
        return Layout(self.work / "unseen" / name)


#: Networks that learn from everybody.
EVERYBODY = "everybody"


def name_of(left_out: Iterable[int]) -> str:
    """Name of the networks that do not learn from some folds.

    >>> name_of([]), name_of([2, 0])
    ('everybody', 'without-0-2')
    """
    numbers = sorted(left_out)
    return "-".join(["without", *map(str, numbers)]) if numbers else EVERYBODY


def splits(folds: int) -> dict[str, tuple[int, ...]]:
    """Networks that a tuning trains, by name: the folds that each leaves out.

    The networks without fold k are measured on fold k. Their probability is fitted on the other
    folds j, by the networks without j and k: these have seen neither the people that they score
    nor those of fold k.

    >>> list(splits(3))[:3], list(splits(3))[4:]
    (['everybody', 'without-0', 'without-1'], ['without-0-1', 'without-0-2', 'without-1-2'])
    """
    left_out = [part for number in range(3) for part in combinations(range(folds), number)]
    return {name_of(part): part for part in left_out}


def finished(folder: Path) -> Path:
    """The file that marks the work in ``folder`` as done."""
    return folder / "finished.json"
