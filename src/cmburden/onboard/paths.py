"""Names of all files that an onboarding writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Onboarded:
    """The output folder of ``cmburden onboard``."""

    out: Path

    @property
    def bids(self) -> Path:
        """The BIDS tree."""
        return self.out / "bids"

    @property
    def truth(self) -> Path:
        """Lesions with places, a row each (`core.tables.TRUTH`)."""
        return self.out / "truth.tsv"

    @property
    def counts_truth(self) -> Path:
        """Readers' numbers of lesions, a row a scan."""
        return self.out / "counts_truth.tsv"

    @property
    def readers_truth(self) -> Path:
        """Lesions with places of each of several readers."""
        return self.out / "readers_truth.tsv"

    @property
    def folds(self) -> Path:
        """Fold of each participant, for fine-tuning."""
        return self.out / "folds.tsv"

    @property
    def read_scans(self) -> Path:
        """Ids of scans that a reader has read, a line each."""
        return self.out / "read_scans.txt"

    @property
    def table(self) -> Path:
        """A row for each series of the download."""
        return self.out / "onboard.tsv"

    @property
    def record(self) -> Path:
        """Numbers, levels seen, convention of coordinates, checksums of tables."""
        return self.out / "onboard.json"

    @property
    def derivatives(self) -> Path:
        """Output of ``--then evaluate``: that of `cmburden run`."""
        return self.out / "derivatives"

    @property
    def evaluation(self) -> Path:
        """Output of ``--then evaluate``: that of `cmburden evaluate`."""
        return self.out / "evaluation"

    @property
    def work(self) -> Path:
        """Markers and files that a further run needs."""
        return self.out / "work" / "onboard"

    @property
    def lock(self) -> Path:
        """Held by the one onboarding that writes here."""
        return self.work / "lock"

    @property
    def unpacked(self) -> Path:
        """Archives of DICOM, unpacked."""
        return self.work / "unpacked"

    @property
    def tree(self) -> Path:
        """Files of ``bids`` that an onboarding wrote, a line each."""
        return self.work / "tree.json"

    def converted(self, key: str) -> Path:
        """Images of the source ``key``, before they have a name."""
        return self.work / "converted" / key[:2] / key

    def marker(self, key: str) -> Path:
        """What was made of the source ``key``; exists when its images do."""
        return self.converted(key) / "made.json"
