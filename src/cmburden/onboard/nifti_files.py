"""NIfTI files of a download that is not DICOM: listed, told apart by name, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cmburden.core.foreign import printable
from cmburden.index.names import is_nifti, without_ending
from cmburden.onboard.parts import Image, Passed, Source

#: Field of the sidecars that are written: where an echo time is from that no file tells.
FROM_PROTOCOL = {"AcquisitionParametersSource": "the study's published protocol, not the file"}


def files_of(roots: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """NIfTI files below ``roots``, sorted, each with its place: relative to its root."""
    for root in roots:
        paths = [root] if root.is_file() else sorted(root.rglob("*"))
        for path in paths:
            if is_nifti(path.name) and not path.name.startswith("."):
                shown = path.name if path == root else str(path.relative_to(root))
                yield path, printable(shown)


def stem(path: Path) -> str:
    """Name of an image without ending.

    >>> stem(Path("01.nii.gz")), stem(Path("901_T0.SWI.NII"))
    ('01', '901_T0.SWI')
    """
    return without_ending(path.name)


def once(rows: Iterable[Source | Passed]) -> Iterator[Source | Passed]:
    """``rows`` with one source for each image that a layout names; the second is passed by."""
    first: dict[tuple[object, ...], str] = {}
    for row in rows:
        if isinstance(row, Source) and row.fixed is not None:
            key = (row.participant, row.session, row.fixed.suffix, row.fixed.entities)
            if key in first:
                reason = f"the download holds this image twice; {first[key]} is used"
                yield Passed(row.place, reason, row.participant, row.fixed.rule, row)
                continue
            first[key] = row.place
        yield row


def by_file_name(images: Sequence[Image]) -> dict[str, Image]:
    """Images by the name of their file in the download, without ending."""
    return {stem(image.source.files[0]): image for image in images if image.source.files}
