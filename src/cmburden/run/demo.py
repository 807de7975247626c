"""The demo: runs four small simulated cohorts and prints five measures of their evaluation."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from cmburden.core import resources
from cmburden.core.errors import CMBurdenError
from cmburden.core.files import write_json
from cmburden.run.participants import Request, run

COHORTS = ("adni", "aibl", "mas", "oats")


def prepare(folder: Path, *, participants: int, seed: int, jobs: int) -> None:
    """Write ``folder``/bids and truth.tsv, with two participants without a usable scan."""
    from cmburden.simulate import cohort

    anatomy = resources.root().parent / "shared" / "anatomy"
    cohort.run(
        folder / "bids",
        presets=[name.upper() for name in COHORTS],
        participants=participants,
        seed=seed,
        # If the label maps of real heads are present: the two that no network was trained on.
        anatomy=anatomy if anatomy.is_dir() else None,
        people="13-14" if anatomy.is_dir() else None,
        positive_share=0.5,
        t1w_share=0.3,
        jobs=jobs,
    )
    _add_bad(folder / "bids")


def _add_bad(bids: Path) -> None:
    """Add a participant with a truncated scan, and one with a T1w only."""
    scans = sorted(bids.glob("sub-*/anat/*_T2starw.nii.gz"))
    source, bad = scans[0], "sub-ADNI901"
    folder = bids / bad / "anat"
    folder.mkdir(parents=True)
    content = source.read_bytes()
    (folder / f"{bad}_T2starw.nii.gz").write_bytes(content[: len(content) // 2])
    write_json(folder / f"{bad}_T2starw.json", {"EchoTime": 0.02, "MagneticFieldStrength": 3.0})
    none = "sub-OATS901"
    folder = bids / none / "anat"
    folder.mkdir(parents=True)
    t1w = next(bids.glob("sub-*/anat/*_T1w.nii.gz"), source)
    shutil.copyfile(t1w, folder / f"{none}_T1w.nii.gz")
    with (bids / "participants.tsv").open("a", encoding="utf-8") as stream:
        stream.write(f"{bad}\t71.0\tF\tA\tcontrol\n{none}\t69.0\tM\tB\tcontrol\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cmburden demo``."""
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("demo"), help="new folder (default demo)"
    )
    parser.add_argument(
        "--participants", type=int, default=4, help="participants of each cohort (default 4)"
    )
    parser.add_argument(
        "--seed", type=int, default=20260101, help="seed of the simulation (default 20260101)"
    )
    parser.add_argument("--cores", type=int, default=2, help="processors to use (default 2)")


def main(args: argparse.Namespace) -> int:
    """``cmburden demo [FOLDER]``."""
    from cmburden.evaluate import command as evaluate
    from cmburden.evaluate import page as evaluation_page

    folder = args.folder
    bids, derivatives = folder / "bids", folder / "derivatives"
    if not (folder / "truth.tsv").exists():
        if bids.exists():
            shutil.rmtree(bids)
        prepare(folder, participants=args.participants, seed=args.seed, jobs=args.cores)
    code = _run(bids, derivatives, args.cores)
    if code:
        raise CMBurdenError(f"the demo's run ended with code {code}; see {derivatives / 'logs'}")
    result = evaluate.run(derivatives, folder / "truth.tsv", folder / "evaluation")
    print(evaluation_page.seed_table(result))
    print(f"Report: {derivatives / 'report' / 'index.html'}")
    return 0


def _run(bids: Path, derivatives: Path, cores: int) -> int:
    """``cmburden run`` for the four cohorts; its exit code."""
    return run(
        Request(
            bids_dir=bids,
            output_dir=derivatives,
            cores=cores,
            settings=[
                f"cohorts=[{','.join(f'config/cohorts/{name}.yaml' for name in COHORTS)}]",
                "buckets=2",
            ],
        )
    )
