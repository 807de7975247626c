"""Small BIDS trees, and what the index makes of them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden.core import config
from cmburden.core.paths import Layout
from cmburden.index import stage as index

#: A sidecar without a fault.
SOUND = {"EchoTime": 0.02, "MagneticFieldStrength": 3.0, "Manufacturer": "Siemens"}


def tree(root: Path, names: list[str], **sidecars: dict[str, Any]) -> Path:
    """A tree of files that hold their own name; sidecars are ``SOUND``.

    ``sidecars`` are contents of JSON files in the root, by suffix.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "made up", "BIDSVersion": "1.10.0"}')
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(SOUND) if name.endswith(".json") else name)
    for suffix, content in sidecars.items():
        (root / f"{suffix}.json").write_text(json.dumps(content))
    return root


@dataclasses.dataclass(frozen=True)
class Index:
    """Rows of both tables, by scan_id and by path."""

    manifest: pd.DataFrame
    rejected: pd.DataFrame

    @property
    def scans(self) -> list[str]:
        return sorted(self.manifest.index)

    @property
    def reasons(self) -> dict[str, str]:
        return self.rejected["reason"].to_dict()

    @property
    def people(self) -> set[str]:
        """Participants that have a row in either table."""
        return set(self.manifest["participant_id"]) | set(self.rejected["participant_id"].dropna())

    def value(self, scan_id: str, column: str) -> Any:
        value = self.manifest.loc[scan_id, column]
        return None if pd.isna(value) else value

    def message(self, path: str) -> str:
        return self.rejected.loc[path, "message"]


def index_of(bids: Path, **overrides: Any) -> Index:
    """The index of a tree; its output folder lies beside the tree."""
    layout = Layout(bids.parent / "out")
    index.run(bids, layout, config.load(overrides))
    return Index(
        pd.read_parquet(layout.manifest).set_index("scan_id"),
        pd.read_parquet(layout.rejected).set_index("path"),
    )


def images_of(bids: Path) -> set[str]:
    """Paths of all files of the tree with the ending of a NIfTI image, in any letter case."""
    names = (path for path in bids.rglob("*") if ".git" not in path.parts and not path.is_dir())
    return {
        path.relative_to(bids).as_posix()
        for path in names
        if path.name.lower().endswith((".nii", ".nii.gz"))
    }
