"""`cmburden dicom`: a scan's microbleeds as DICOM SEG and SR, for a PACS."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.schema import as_records
from cmburden.core.tables import LESIONS
from cmburden.run import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    options.add_output_dir(parser)
    parser.add_argument("scan_id", help="the scan, as the column scan_id of the tables names it")
    parser.add_argument(
        "series", type=Path, help="folder of the DICOM series that the scan was converted from"
    )
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="folder to write to (OUTPUT_DIR/export/dicom)"
    )


def main(args: argparse.Namespace) -> int:
    """Write the two files; returns the exit code."""
    if find_spec("highdicom") is None:
        raise CMBurdenError("cmburden dicom: needs highdicom; pip install 'cmburden[dicom]'")
    from cmburden.export import dicom
    from cmburden.images.volume import read_derivative

    layout = Layout(args.output_dir)
    if not layout.table("lesions").exists():
        raise CMBurdenError(f"{layout.root}: no tables are here; cmburden run makes them first")
    scans = {scan.scan_id: scan for scan in read_scans(layout.manifest, Path())}
    if args.scan_id not in scans:
        raise CMBurdenError(
            f"{args.scan_id}: no such scan in {layout.root}; the column scan_id of "
            f"{layout.table('scans')} names all"
        )
    path = layout.lesion_labels(scans[args.scan_id])
    if not path.exists():
        raise CMBurdenError(f"{args.scan_id}: has no result; cmburden status says why")
    values, affine = read_derivative(path)
    table = LESIONS.read(layout.table("lesions"))
    lesions = as_records(table[table["scan_id"] == args.scan_id].sort_values("lesion_id"))
    labels = dicom.Labels(values, affine, lesions)
    folder = args.to or layout.export / "dicom"
    for written in dicom.write(folder, args.scan_id, labels, dicom.read_series(args.series)):
        print(written)
    return 0
