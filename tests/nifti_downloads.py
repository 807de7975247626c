"""Invented downloads of the cohorts that come as NIfTI (fixtures F4 to F7), and images of them."""

import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np

from cmburden.onboard.parts import Image, Passed, Request, Source

#: Affine of fixtures F6 and F7.
F6 = np.diag([-0.9375, -0.9375, 1.75, 1.0])
F6[:3, 3] = (14.5, 18.3, -16.6)


def nifti(path: Path, data: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        data = np.arange(24 * 24 * 8, dtype=np.float32).reshape(24, 24, 8)
    nib.save(
        nib.Nifti1Image(data, np.diag([0.9, 0.9, 1.75, 1]) if affine is None else affine), path
    )
    return path


def packed(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def request(cohort: str, *sources: Path, out: Path, **more: object) -> Request:
    return Request(cohort, tuple(sources), out, **more)


def found(module, asked: Request) -> tuple[list[Source], list[Passed]]:
    rows = list(module.find(asked))
    return (
        [row for row in rows if isinstance(row, Source)],
        [row for row in rows if isinstance(row, Passed)],
    )


def images(module, sources: list[Source]) -> list[Image]:
    """The images of ``OUT/bids``, as if they were links to the download's files."""
    made = []
    for source in sources:
        participant, session = module.label(source)
        entities = [f"sub-{participant}", *([f"ses-{session}"] if session else [])]
        entities += ["-".join(pair) for pair in source.fixed.entities]
        name = "_".join([*entities, source.fixed.suffix])
        ses = f"ses-{session}" if session else None
        made.append(
            Image(
                source.files[0],
                name,
                f"sub-{participant}",
                ses,
                source.fixed.suffix,
                source.fixed.rule,
                source,
            )
        )
    return made
