"""The command ``cmburden insert``: sensitivity for lesions inserted into copies of the scans."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pandas as pd

from cmburden import RESEARCH_USE_ONLY
from cmburden.core import table_set
from cmburden.core.errors import CMBurdenError
from cmburden.core.markdown import table as markdown_table
from cmburden.core.paths import Layout
from cmburden.core.tables import INSERTION, RENDERERS
from cmburden.insert import stage
from cmburden.insert.estimates import ALL, LEAST_LESIONS, LEAST_PEOPLE, LOWEST, PUBLISHED, UNSEEN
from cmburden.insert.lesions import MOST, Wish
from cmburden.insert.stage import Subject, Work
from cmburden.insert.transplant import LEAST_DONORS
from cmburden.insert.transplant import LEAST_PEOPLE as LEAST_DONOR_PEOPLE
from cmburden.run import settings
from cmburden.run.lock import only_run
from cmburden.run.logs import logged

#: Scans without ``--scans``.
DEFAULT_SCANS = 100
#: Copies that one process works through at a time: the networks are loaded for each lot.
_LOT = 4
_MINUTE_S = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``cmburden insert``."""
    parser.description = (
        "Draw microbleeds of known size and place into copies of the scans of a finished run, run "
        "the whole way on the copies, and say how many are detected. Scans, labels, tables and "
        "counts stay as they are. See docs/inserted.md."
    )
    add = parser.add_argument
    add("output_dir", type=Path, help="output folder of a finished run")
    add(
        "--scans",
        type=int,
        default=DEFAULT_SCANS,
        help=f"most scans that get lesions, of all scanners in turn (default {DEFAULT_SCANS})",
    )
    add(
        "--lesions",
        type=int,
        choices=range(1, MOST + 1),
        help=f"lesions of each copy (default: 1 to {MOST}, drawn)",
    )
    add("--seed", type=int, default=0, help="another seed draws other lesions (default 0)")
    add("--cores", type=int, default=os.cpu_count(), help="processes side by side (default: all)")
    add("-n", "--dry-run", action="store_true", help="say what would be done, and do nothing")


def main(args: argparse.Namespace) -> int:
    """``cmburden insert OUTPUT_DIR``; returns the exit code."""
    for name in ("scans", "cores"):
        if getattr(args, name) < 1:
            raise CMBurdenError(f"--{name} {getattr(args, name)}: give a number of at least 1")
    layout = Layout(args.output_dir.absolute())
    if not layout.table("scans").exists() or not layout.candidates.exists():
        raise CMBurdenError(
            f"{layout.root}: no finished run is here; lesions are inserted into the scans of one: "
            f"cmburden run BIDS_DIR {args.output_dir} participant"
        )
    with only_run(layout):
        return _insert(layout, args)


def _insert(layout: Layout, args: argparse.Namespace) -> int:
    from cmburden.report import stage as report
    from cmburden.run import begin

    table_set.check(layout)
    config = settings.of(layout, {"output_dir": str(layout.root)}).config
    if not config["bids_dir"]:
        raise CMBurdenError(f"{layout.config}: names no BIDS folder; give cmburden run again first")
    begin.check_models(config)
    wish = Wish(args.seed, args.lesions)
    work, subjects = stage.prepare(layout, Path(config["bids_dir"]), config, wish, args.scans)
    todo = [one for one in subjects if not work.is_done(one)]
    print(_plan(work, subjects, todo), flush=True)
    if args.dry_run:
        return 0
    # Copies of a command that was killed are of no use.
    shutil.rmtree(layout.copies, ignore_errors=True)
    for line in _lines(work, todo, args.cores):
        print(line, flush=True)
    about = stage.write(work, subjects)
    rows = INSERTION.read(layout.inserted_table("insertion"))
    print("\n".join(_result(layout, about, rows)), flush=True)
    if layout.report.exists():
        report.run(layout, config)
        print(f"Report, section “How well does it see on these scans”: {layout.report}")
    print(RESEARCH_USE_ONLY)
    return 0


def _plan(work: Work, subjects: Sequence[Subject], todo: Sequence[Subject]) -> str:
    """What will be done, in words."""
    people = len({one.scan.participant_id for one in subjects})
    lines = [
        f"{len(subjects)} scans of {people} participants get "
        f"{work.wish.lesions or f'1 to {MOST}'} drawn microbleeds each, in copies; scans, labels, "
        "tables and counts stay as they are."
    ]
    if len(todo) < len(subjects):
        lines.append(f"{len(subjects) - len(todo)} of them were read before; {len(todo)} are left.")
    assumed = sum(one.acquisition.assumed for one in subjects)
    if assumed:
        lines.append(
            f"{assumed} scans have no field strength or echo time in their sidecars: 3 T and 20 ms "
            "are assumed for the physics."
        )
    if not work.library:
        dispute = f" {work.disputed} are disputed and not used." if work.disputed else ""
        lines.append(
            f"No lesions of this cohort are transplanted: {work.confirmed} are confirmed by "
            f"readers, and {LEAST_DONORS} of {LEAST_DONOR_PEOPLE} participants of an alike "
            f"acquisition are needed (cmburden review).{dispute}"
        )
    return "\n".join(lines)


def _lines(work: Work, todo: Sequence[Subject], cores: int) -> Iterator[str]:
    """Work through the scans; a line for each as it is done."""
    lots = [todo[start : start + _LOT] for start in range(0, len(todo), _LOT)]
    began, done = time.monotonic(), 0
    for said in _said(work, lots, min(cores, len(lots))):
        for line in said:
            done += 1
            yield f"  {done}/{len(todo)} {line}"
        if done < len(todo):
            left = (time.monotonic() - began) / done * (len(todo) - done)
            yield f"  about {max(left / _MINUTE_S, 1):.0f} min left"


def _said(work: Work, lots: Sequence[Sequence[Subject]], cores: int) -> Iterator[list[str]]:
    """The lines of each lot, in this process or in others side by side."""
    if cores <= 1:
        for number, lot in enumerate(lots):
            yield lot_of(work, lot, number)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        waiting = [pool.submit(lot_of, work, lot, number) for number, lot in enumerate(lots)]
        try:
            for one in as_completed(waiting):
                yield one.result()
        except BrokenProcessPool as error:
            raise CMBurdenError(
                f"{work.layout.root}: a process was killed, mostly for want of memory; give the "
                "same command with fewer --cores: what is done is kept"
            ) from error
        finally:
            for one in waiting:
                one.cancel()


def lot_of(work: Work, subjects: Sequence[Subject], number: int) -> list[str]:
    """Work through the scans of a lot; what the stages print goes into a log."""
    log = work.layout.log("insert", f"lot-{number}")
    try:
        with logged(str(log)):
            return stage.do(work, subjects, f"lot-{number}")
    except SystemExit as stopped:
        # `logged` ends a job of Snakemake so; here the command says it.
        if isinstance(stopped.code, int):
            raise CMBurdenError(
                f"{log}: copies crashed one after the other; check device and model, and give the "
                "same command again: what is done is kept"
            ) from None
        raise CMBurdenError(str(stopped.code).removeprefix("cmburden: ")) from None


# --- what is printed ---

_HEAD = ("contrast", "drawn by", "visible", "detected", "sensitivity", "as published ones")


def _result(layout: Layout, about: dict[str, Any], rows: pd.DataFrame) -> list[str]:
    """The result in words and a table."""
    cells = []
    definite = rows[rows["label"] == "definite"]
    for contrast, part in definite.groupby("contrast"):
        for renderer in (*RENDERERS, LOWEST):
            of = part[part["renderer"] == renderer].set_index("axis")
            if ALL not in of.index or (renderer == LOWEST and pd.isna(of.loc[ALL, "estimate"])):
                continue
            whole, standard = of.loc[ALL], of.loc[PUBLISHED]
            counts = [str(whole["denominator"]), str(whole["n"])]
            cells.append([str(contrast), renderer, *counts, _text(whole), _text(standard)])
    lines = ["", markdown_table(_HEAD, cells), ""] if cells else ["No lesion was inserted."]
    lines.append(
        "Sensitivity: share of the visible inserted lesions that are called definite, with its "
        "95 % interval by participants. The lowest row is the one to believe, as an upper bound: "
        "drawn lesions are no real ones."
    )
    unseen = definite[(definite["axis"] == UNSEEN) & (definite["renderer"] != LOWEST)]
    if unseen["denominator"].sum():
        lines.append(
            f"Counted apart, since no reader would see them: {unseen['n'].sum()} of "
            f"{unseen['denominator'].sum()} called definite."
        )
    steady = about["Steady"]
    lines.append(
        f"Of {steady['before']} definite lesions of the scans themselves {steady['again']} were "
        f"found again in the copies, and {steady['other']} others."
    )
    for message, number in about["LeftOut"].items():
        lines.append(f"{number} scans were left out: {message}")
    picture = layout.inserted_examples
    shown = f"; some of them to look at: {picture}" if picture.exists() else ""
    lines.append(f"Written: {layout.inserted}{shown}")
    return lines


def _text(row: pd.Series) -> str:
    if pd.isna(row["estimate"]):
        return f"none: {row['due']} more needed ({LEAST_LESIONS} lesions of {LEAST_PEOPLE} people)"
    return f"{row['estimate']:.2f} ({row['ci_low']:.2f}-{row['ci_high']:.2f})"
