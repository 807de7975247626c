"""How often the checks of an image see a fault, and how often they warn of a sound scan.

``python -m cmburden.studies.image_faults BIDS OUT --faulty 24 --jobs 2`` runs preprocess and the
comparison of orientations on every sound scan of BIDS, and on copies of some of them with each
fault of ``faulty_images``. OUT/image_faults.tsv has a row for each, the printed table a row for
each fault. The networks are not asked.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from cmburden.core import config as configuration
from cmburden.core.errors import ScanError, exit_code
from cmburden.core.keys import seed_of
from cmburden.core.paths import Layout
from cmburden.core.scan import Scan
from cmburden.images.prepared import Prepared
from cmburden.images.volume import load_volume, read_derivative
from cmburden.preprocess import stage as preprocess
from cmburden.register import orientation
from cmburden.studies.faulty_images import FAULTS, Fault, Head

#: Columns of the table of cases.
COLUMNS = ("scan", "preset", "kind", "fault", "due", "status", "reason", "message")


@dataclasses.dataclass(frozen=True)
class Case:
    """A scan to try: a sound one, or with the ``fault`` number of ``FAULTS``."""

    path: Path
    out: Path
    fault: int | None

    @property
    def name(self) -> str:
        stem = self.path.name.removesuffix(".nii.gz")
        return stem if self.fault is None else f"{stem}_fault-{self.fault:02d}"


def try_case(case: Case) -> dict[str, str | None]:
    """A row of ``COLUMNS`` for one case."""
    fault = None if case.fault is None else FAULTS[case.fault]
    path = case.path if fault is None else _write(case, fault)
    layout = Layout(case.out / "derivatives")
    scan = _scan(path)
    settings = configuration.defaults()["preprocess"]
    outcome = preprocess.run(scan, layout, settings)
    status, reason, message = outcome.status, outcome.reason, outcome.message
    if outcome.ok:
        try:
            _, doubt = orientation.check(Prepared.read(scan, layout))
            message = " ".join(text for text in (message, doubt) if text) or None
        except ScanError as error:
            status, reason, message = error.status, error.reason, str(error)
    if fault is not None:
        path.unlink()
        for made in (layout.preproc(scan), layout.brain_mask(scan)):
            made.unlink(missing_ok=True)
    return {
        "scan": case.path.name.removesuffix(".nii.gz"),
        "preset": case.path.name[4:].rstrip("0123456789_").split("0")[0],
        "kind": "sound" if fault is None else fault.kind,
        "fault": "none" if fault is None else fault.name,
        "due": "read" if fault is None else fault.due,
        "status": status if message is None or status != "ok" else "warned",
        "reason": reason,
        "message": message,
    }


def _scan(path: Path) -> Scan:
    stem = path.name.removesuffix(".nii.gz")
    entities = [part.split("-", 1) for part in stem.split("_")[:-1]]
    suffix = stem.rsplit("_", 1)[1]
    return Scan(
        scan_id=stem,
        cohort="study",
        participant_id=f"sub-{entities[0][1]}",
        session_id=None,
        suffix=suffix,
        contrast="SWI" if suffix == "swi" else "GRE",
        path=path,
        entities=tuple((key, value) for key, value in entities),
    )


def _write(case: Case, fault: Fault) -> Path:
    """The image of ``case`` with ``fault``, with the header of the sound one."""
    volume = load_volume(case.path)
    sound = Layout(case.out / "derivatives")
    mask = read_derivative(sound.brain_mask(_scan(case.path)))[0] > 0
    head = Head(volume.data, mask, volume.zooms, seed_of("fault", 1, case.name))
    turned = fault.make(head)
    sizes = np.array(volume.zooms)[list(turned.order)]
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = -sizes * (np.array(turned.data.shape) - 1) / 2
    stem, suffix = case.path.name.removesuffix(".nii.gz").rsplit("_", 1)
    path = case.out / "faulty" / f"{stem}_desc-fault{case.fault:02d}_{suffix}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(turned.data.astype(np.float32), affine), path)
    return path


def cases(bids: Path, out: Path, faulty: int) -> tuple[list[Case], list[Case]]:
    """The sound scans of ``bids``, and ``faulty`` of them with each fault."""
    paths = sorted(
        path for path in bids.glob("sub-*/**/*.nii.gz") if not path.name.endswith("_T1w.nii.gz")
    )
    chosen = [paths[int(at)] for at in np.linspace(0, len(paths) - 1, min(faulty, len(paths)))]
    sound = [Case(path, out, None) for path in paths]
    faulty_cases = [Case(path, out, number) for path in chosen for number in range(len(FAULTS))]
    # A mixed order: a study that is stopped has tried every fault on some scans.
    order = np.random.default_rng(0).permutation(len(faulty_cases))
    return sound, [faulty_cases[at] for at in order]


def run(bids: Path, out: Path, faulty: int, jobs: int) -> pd.DataFrame:
    """Try all cases, ``jobs`` at a time; rows are written as they come, and returned sorted."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str | None]] = []
    with (
        (out / "rows.jsonl").open("w", encoding="utf-8") as stream,
        ProcessPoolExecutor(jobs, get_context("spawn"), _single_thread) as pool,
    ):
        for batch in cases(bids, out, faulty):
            for done in as_completed([pool.submit(try_case, case) for case in batch]):
                rows.append(done.result())
                stream.write(json.dumps(rows[-1]) + "\n")
                stream.flush()
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["kind", "fault", "scan"])
    table.to_csv(out / "image_faults.tsv", sep="\t", index=False, na_rep="n/a")
    return table


def _single_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def lines(table: pd.DataFrame) -> Iterator[str]:
    """A Markdown table: for each fault its scans, and how many were refused and warned of."""
    yield "| kind | fault | scans | refused | warned of or mended | read without a word |"
    yield "|---|---|---|---|---|---|"
    order = {fault.name: number for number, fault in enumerate(FAULTS)}
    groups = sorted(table.groupby(["kind", "fault"]), key=lambda item: order.get(item[0][1], -1))
    for (kind, fault), rows in groups:
        refused = int(rows["status"].isin(["excluded", "failed"]).sum())
        warned, read = (int((rows["status"] == status).sum()) for status in ("warned", "ok"))
        yield f"| {kind} | {fault} | {len(rows)} | {refused} | {warned} | {read} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cmburden.studies.image_faults")
    parser.add_argument("bids", type=Path, help="folder of sound scans")
    parser.add_argument("out", type=Path)
    parser.add_argument("--faulty", type=int, default=24, help="scans that get every fault")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    print("\n".join(lines(run(args.bids, args.out, args.faulty, args.jobs))))
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
