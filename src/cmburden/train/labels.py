"""A user's own labels as training scans: slab files of whole scans from the output of a run.

Labels are masks or a table of centres. A scan in which a reader found nothing differs from a scan
that nobody read. Of the first kind are a scan with an empty mask, with a table row without
coordinates, or with a line of ``--read-scans``. A scan without any of these is not used. All
problems are reported at once.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from cmburden.core.errors import CMBurdenError, exit_code
from cmburden.core.manifest import read_scans
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.core.tables import SCANS
from cmburden.images.prepared import Prepared
from cmburden.train import slabs
from cmburden.train.label_masks import from_masks
from cmburden.train.label_table import from_table
from cmburden.train.lesions import RADIUS_MM, Labelled, Lesion, Run
from cmburden.train.slabs import Slab, Spheres


@dataclasses.dataclass(frozen=True)
class LabelSource:
    """Where labels come from: a folder of ``masks``, or a ``table`` with the scan_ids ``read``.

    With ``trust_coordinates`` the images are not asked whether the table is in scanner RAS mm.
    """

    masks: Path | None = None
    table: Path | None = None
    read: Path | None = None
    trust_coordinates: bool = False

    def labelled(self, run: Run) -> Labelled:
        """The labels of ``run``'s scans; CMBurdenError where there are none."""
        if self.table:
            return from_table(self.table, run, self.read, trust_coordinates=self.trust_coordinates)
        if self.masks is None:
            raise CMBurdenError("there are no labels; give --labels or --table")
        if self.masks.resolve() == run.layout.root.resolve():
            raise CMBurdenError(
                f"{self.masks}: these are CMBurden's own findings; name the folder of a reader's "
                "labels"
            )
        return from_masks(self.masks, run)


def slab_of(scan: Scan, layout: Layout, lesions: tuple[Lesion, ...]) -> Slab:
    """The slab of a whole scan of a run; its cohort is its name."""
    # The module loads the simulator, which takes seconds.
    from cmburden.train.dataset import About, make_slab

    prepared = Prepared.read(scan, layout)
    centres = np.array([lesion.centre for lesion in lesions]).reshape(-1, 3)
    return make_slab(
        prepared.volume,
        prepared.mask,
        prepared.affine,
        Spheres(centres, np.array([lesion.radius_mm for lesion in lesions])),
        [lesion.kind for lesion in lesions],
        About(scan.cohort, scan.contrast, scan.participant_id),
    )


def run(
    derivatives: Path, out: Path, source: LabelSource, *, keep_going: bool = False
) -> list[Path]:
    """Write a slab for each labelled scan of the run in ``derivatives``; returns their paths.

    Raises CMBurdenError with all problems, before a file is written. With ``keep_going`` the
    problems are printed and the scans without problems are written.
    """
    layout = Layout(derivatives)
    scans, unused = scans_of(layout)
    usable = frozenset(set(scans) - set(unused))
    labelled = source.labelled(Run(layout, scans, usable))
    _report(labelled.problems, keep_going)
    for scan_id in sorted(set(labelled.lesions) & set(unused)):
        print(f"{scan_id}: labelled but not used, {unused[scan_id]}")
    written = []
    for scan_id in sorted(set(labelled.lesions) & usable):
        path = slabs.slab_path(out, scan_id)
        lesions = labelled.lesions[scan_id]
        slabs.save(path, slab_of(scans[scan_id], layout, lesions))
        print(path.name, len(lesions), flush=True)
        written.append(path)
    if not written:
        raise CMBurdenError(
            f"{derivatives}: no labelled scan can be used; run cmburden run on the scans that have "
            "labels, and see cmburden status"
        )
    return written


def _report(problems: tuple[str, ...], keep_going: bool) -> None:
    """Print the problems, or raise CMBurdenError with them."""
    if not problems:
        return
    text = "\n".join(f"  {problem}" for problem in problems)
    if not keep_going:
        raise CMBurdenError(
            f"{len(problems)} problem(s) with the labels, nothing was written; mend them, or "
            f"go on without them by --keep-going:\n{text}"
        )
    print(f"{len(problems)} problem(s), left out:\n{text}")


def scans_of(layout: Layout) -> tuple[dict[str, Scan], dict[str, str]]:
    """The run's scans by id, and for those that cannot be used the reason, as a sentence.

    Scans that failed, or have no preprocessed volume, cannot be used.
    """
    if not layout.manifest.exists() or not layout.table("scans").exists():
        raise CMBurdenError(
            f"{layout.root}: not the output of a complete cmburden run; run it first, on the scans "
            "that have labels"
        )
    # The folder of the raw scans does not matter: the preprocessed volumes are read.
    scans = {scan.scan_id: scan for scan in read_scans(layout.manifest, layout.root)}
    unused = {}
    for row in SCANS.read(layout.table("scans")).itertuples():
        if row.scan_id in scans and row.status != "ok":
            unused[row.scan_id] = f"{row.status} ({row.reason}): {row.message}"
    for scan_id, scan in scans.items():
        if not (layout.preproc(scan).exists() and layout.brain_mask(scan).exists()):
            unused.setdefault(scan_id, "it has no preprocessed volume: run cmburden run again")
    return scans, unused


def parser() -> argparse.ArgumentParser:
    """The step's arguments."""
    parser = argparse.ArgumentParser(prog="cmburden train labels", description=main.__doc__)
    parser.add_argument("derivatives", type=Path, help="output folder of cmburden run")
    parser.add_argument("out", type=Path, help="folder for slab-*.npz")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--labels", type=Path, help="folder of sub-*/**/*_label-CMB_mask.nii.gz or _dseg.nii.gz"
    )
    source.add_argument(
        "--table",
        type=Path,
        help="TSV: scan_id (or participant_id, session_id), x_mm, y_mm, z_mm in scanner RAS; may "
        f"have radius_mm ({RADIUS_MM}) and kind (microbleed)",
    )
    parser.add_argument(
        "--read-scans", type=Path, help="with --table: scan_ids that were read, one a line"
    )
    parser.add_argument(
        "--trust-coordinates",
        action="store_true",
        help="with --table: do not ask the images whether the points are scanner RAS mm",
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="leave out labels that are wrong, write the rest"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Training slabs from your own labels: ``cmburden train labels DERIVATIVES OUT --labels DIR``.

    A scan that was read without a finding has an empty mask, or a table row without coordinates,
    or a line in --read-scans. Scans without any of these are not used.
    """
    args = parser().parse_args(arguments)
    if args.read_scans and not args.table:
        raise CMBurdenError("--read-scans: only --table needs it; an empty mask says the same")
    source = LabelSource(
        masks=args.labels,
        table=args.table,
        read=args.read_scans,
        trust_coordinates=args.trust_coordinates,
    )
    written = run(args.derivatives, args.out, source, keep_going=args.keep_going)
    print(f"{len(written)} scans in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
