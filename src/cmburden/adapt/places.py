"""The names of all files that an adaptation writes below MODELS."""

from __future__ import annotations

from pathlib import Path


class Places:
    """Names of the files of an adaptation.

    >>> Places(Path("adapted")).scored("after", 2).as_posix()
    'adapted/work/scored/after/copy-2'
    """

    def __init__(self, models: Path):
        self.root = Path(models)
        #: Scans of people: not to be passed on.
        self.work = self.root / "work"
        self.plan = self.work / "plan.json"
        self.lock = self.work / ".lock"
        #: Slabs of the participants' scans with drawn lesions.
        self.slabs = self.work / "slabs"
        #: Simulated slabs, where the user named none.
        self.simulated = self.work / "simulated"
        #: Simulated slabs that nothing is learnt from: has the network forgotten anything?
        self.held_out = self.work / "held-out"
        #: Slabs that are learnt from, checkpoints and weights.
        self.network = self.work / "network"
        self.forgetting = self.work / "forgetting.json"
        self.fitted = self.work / "fitted.json"
        self.result = self.root / "adaptation.json"
        self.table = self.root / "adaptation.tsv"
        self.page = self.root / "adaptation.md"

    def model(self, kind: str) -> Path:
        """Folder of the released ``detector`` or ``verifier``."""
        return self.root / kind

    def unreleased(self, kind: str) -> Path:
        """Folder of the adapted model before the check has decided."""
        return self.work / "models" / kind

    def scored(self, which: str, copy: int | None = None) -> Path:
        """Folder of candidates by the models ``before`` or ``after``, of scans or of a copy each.

        >>> Places(Path("adapted")).scored("after").name
        'scans'
        """
        return self.work / "scored" / which / ("scans" if copy is None else f"copy-{copy}")

    def drawn(self, scan_id: str, copy: int) -> Path:
        """The lesions that were drawn into a copy of a scan."""
        return self.work / "drawn" / f"{scan_id}-{copy}.json"
