"""The command ``cmburden onboard``: a cohort as it is downloaded to BIDS and the readers' truth."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from cmburden.core.errors import CMBurdenError

#: Conventions of coordinates that a user can state.
COORDINATES = ("auto", "ras", "lps", "las", "voxel0", "voxel1")
#: What can follow.
THEN = ("evaluate",)
_MOST_REASONS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to ``parser``."""
    from cmburden.onboard.cohorts import COHORTS

    add = parser.add_argument
    add(
        "cohort",
        choices=tuple(COHORTS),
        help="; ".join(f"{name}: {text}" for name, text in COHORTS.items()),
        metavar="COHORT",
    )
    add("sources", type=Path, nargs="+", metavar="SOURCE", help="folder or zip of the download")
    add("out", type=Path, metavar="OUT", help="folder for bids/, truth.tsv and onboard.tsv")
    add("--lesions", type=Path, metavar="TABLE", help="readers' table with places of lesions")
    add("--counts", type=Path, metavar="TABLE", help="readers' table with numbers of lesions")
    add(
        "--tables",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="TABLE",
        help="tables of people (age, sex, diagnosis), or folders that hold them",
    )
    add("--rules", type=Path, metavar="YAML", help="rules of yours, which come first")
    add(
        "--coordinates",
        choices=COORDINATES,
        default="auto",
        help="of the table's places (default auto: the images tell)",
    )
    add("--only-read", action="store_true", help="leave out scans that no reader has read")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--link", action="store_true", help="link NIfTI files instead of copying them")
    how.add_argument("--copy", action="store_true", help="copy NIfTI files (default)")
    add("--jobs", type=int, default=1, help="series converted side by side (default 1)")
    add(
        "-n",
        "--dry-run",
        action="store_true",
        help="print columns of tables, counts of levels and series by rule; no row, write nothing",
    )
    add("--then", choices=THEN, help="evaluate: run the pipeline, then compare with the readers")
    add("--cores", type=int, default=None, help="cores of the run of --then evaluate (default all)")


def main(args: argparse.Namespace) -> int:
    """Onboard what ``args`` name, say what came out, and go on with what ``--then`` asks for."""
    from cmburden.onboard.parts import Request

    request = Request(
        cohort=args.cohort,
        sources=tuple(args.sources),
        out=args.out,
        lesions=args.lesions,
        counts=args.counts,
        tables=tuple(args.tables),
        rules=args.rules,
        coordinates=args.coordinates,
        only_read=args.only_read,
        link=args.link,
        jobs=args.jobs,
        dry_run=args.dry_run,
    )
    if request.dry_run:
        from cmburden.onboard import dry_run

        print("\n".join(dry_run.lines(request)))
        return 0
    from cmburden.onboard import stage

    print("\n".join(summary(request, stage.run(request))), flush=True)
    return _evaluate(request, args.cores) if args.then == "evaluate" else 0


def summary(request: Any, result: Any) -> list[str]:
    """What an onboarding has made, in lines."""
    from cmburden.onboard.paths import Onboarded

    paths = Onboarded(request.out)
    people = {image.participant_id for image in result.images}
    suffixes = Counter(image.suffix for image in result.images)
    kinds = Counter(one.kind for one in result.told.findings)
    lines = [
        f"{len(result.images)} images of {len(people)} participants in {paths.bids} "
        f"({', '.join(f'{name} {number}' for name, number in sorted(suffixes.items()))}); "
        f"{result.fresh} series converted now"
    ]
    if result.told.findings or result.told.counts:
        read = len({one.scan_id for one in (*result.told.findings, *result.told.counts)})
        numbers = ", ".join(f"{name} {number}" for name, number in sorted(kinds.items()))
        lines.append(f"{read} scans were read{f' ({numbers})' if numbers else ''}")
    lines += [f"{name}: {number}" for name, number in sorted(result.told.counted.items())]
    if result.passed:
        lines.append(f"{len(result.passed)} series or files gave no image ({paths.table}):")
        lines += _reasons([one.reason for one in result.passed])
    return lines + list(result.remarks)


def _reasons(reasons: list[str]) -> list[str]:
    """Numbers of series by reason, the most frequent first."""
    counted = Counter(reason.split(" (")[0].split(";")[0] for reason in reasons)
    shown = counted.most_common(_MOST_REASONS)
    lines = [f"  {number:>6}  {reason}" for reason, number in shown]
    others = len(reasons) - sum(number for _, number in shown)
    return lines + ([f"  {others:>6}  other reasons"] if others else [])


def _evaluate(request: Any, cores: int | None) -> int:
    """Run the pipeline on the tree, then compare it with the truth; returns the exit code."""
    from cmburden.evaluate import command as evaluation
    from cmburden.onboard.paths import Onboarded
    from cmburden.run import participants

    paths = Onboarded(request.out)
    if paths.truth.exists():
        words = [str(paths.derivatives), str(paths.truth)]
    elif paths.counts_truth.exists():
        words = [str(paths.derivatives), "--counts", str(paths.counts_truth)]
    else:
        raise CMBurdenError(
            f"{paths.truth}: no reader's table told anything, so that there is nothing to compare "
            "with; give --lesions or --counts, or leave out --then evaluate"
        )
    if paths.readers_truth.exists():
        words += ["--readers", str(paths.readers_truth)]
    code = participants.run(
        participants.Request(bids_dir=paths.bids, output_dir=paths.derivatives, cores=cores)
    )
    if code:
        return code
    parser = argparse.ArgumentParser()
    evaluation.add_arguments(parser)
    return evaluation.main(parser.parse_args([*words, "--out", str(paths.evaluation)]))
