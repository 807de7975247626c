"""The command ``cmburden train``: runs a step in this process, or as jobs.

For cross-validation, a job runs for each part of the data that is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from cmburden.core.errors import CMBurdenError
from cmburden.train import selection, steps, submission
from cmburden.train.submission import Resources, StepRun

EXECUTORS = ("none", "debug", "local", "slurm")
#: Steps that may be jobs, and the place of OUT among the arguments that follow the step's name.
OUT_AT = {"dataset": 0, "detector": 1, "mine": 2, "verifier": 1}
#: Steps that take ``--fold`` and ``--without`` (cmburden.train.selection).
SELECTING = ("detector", "verifier")
#: Options that only jobs have, by their name in the namespace.
_JOB_OPTIONS = (
    "minutes_a_job",
    "gpus",
    "cpus",
    "memory_gb",
    "partition",
    "account",
    "logs",
    "at_once",
    "no_wait",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the step, its arguments and the options of jobs to the command's ``parser``."""
    # A step's own options pass through this parser: none may be taken for an abbreviation here.
    parser.allow_abbrev = False
    described = "; ".join(f"{step}: {text}" for step, text in steps.STEPS.items())
    parser.add_argument("step", choices=tuple(steps.STEPS), help=described)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="arguments of the step")
    add_job_options(parser)


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of jobs, which may stand before the step or among its arguments."""
    group = parser.add_argument_group(
        "jobs", f"for {', '.join(OUT_AT)}; may also follow the step's own arguments"
    )
    add_resource_options(group)
    array = group.add_mutually_exclusive_group()
    array.add_argument(
        "--folds", type=at_least(2), metavar="K", help="K jobs, each without a K-th of people"
    )
    array.add_argument(
        "--leave-out-each", action="store_true", help="a job without each acquisition or cohort"
    )


def add_resource_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that say where jobs run and what each may take (:func:`resources_of`)."""
    group.add_argument(
        "--executor",
        choices=EXECUTORS,
        default="none",
        help="none: in this process; debug: the same through submitit; local: a process of its "
        "own; slurm: sbatch",
    )
    group.add_argument("--minutes-a-job", type=at_least(1), metavar="N", help="240 if not given")
    group.add_argument("--gpus", type=at_least(0), metavar="N", help="none if not given")
    group.add_argument("--cpus", type=at_least(1), metavar="N", help="processors of a job")
    group.add_argument("--memory-gb", type=at_least(0.1, float), metavar="GB", help="slurm only")
    group.add_argument("--partition", help="slurm only")
    group.add_argument("--account", help="slurm only")
    group.add_argument("--logs", type=Path, metavar="FOLDER", help="OUT/jobs if not given")
    group.add_argument(
        "--at-once",
        type=at_least(1),
        metavar="N",
        help="jobs of an array that run side by side (local: 1, slurm: all if not given)",
    )
    group.add_argument(
        "--no-wait", action="store_true", default=None, help="slurm only: print job ids and end"
    )


def at_least(least: float, kind: Callable[[str], float] = int) -> Callable[[str], float]:
    """An argparse type: a number of ``kind`` that is at least ``least``."""

    def number(text: str) -> float:
        with contextlib.suppress(ValueError):
            if math.isfinite(value := kind(text)) and value >= least:
                return value
        raise argparse.ArgumentTypeError(f"{text} is no number of at least {least}")

    return number


def main(args: argparse.Namespace) -> int:
    """Run the step of ``args``, in whose ``rest`` options of jobs may stand too.

    Returns the step's exit code; of several the largest. Raises CMBurdenError for mistakes that
    the user can mend.
    """
    step: str = args.step
    args, rest = _job_options(args)
    _check(step, args)
    asks_for_help = bool({"-h", "--help"} & set(rest))
    several = args.folds or args.leave_out_each
    if asks_for_help or (args.executor == "none" and not several):
        return steps.module_of(step).main(rest)
    runs = runs_of(
        step, rest, folds=args.folds, leave_out_each=args.leave_out_each, threads=args.cpus
    )
    # A mistake in the step's arguments is reported now, and not when its job begins.
    for run in runs:
        steps.module_of(step).parser().parse_args(list(run.arguments))
    if args.executor == "none":
        return submission.report([(run, run()) for run in runs], None)
    return submission.run_jobs(runs, resources_of(args, _out(step, rest)))


def _job_options(args: argparse.Namespace) -> tuple[argparse.Namespace, list[str]]:
    """``args`` with the options of jobs that stand in ``rest``, and what else stands there."""
    parser = argparse.ArgumentParser(prog=f"cmburden train {args.step}", add_help=False)
    parser.allow_abbrev = False
    add_job_options(parser)
    return parser.parse_known_args(args.rest, argparse.Namespace(**vars(args)))


def resources_of(args: argparse.Namespace, out: Path) -> Resources:
    """The resources of a step's jobs, which write to ``out``."""
    return Resources(
        executor=args.executor,
        logs=args.logs or out / "jobs",
        minutes=args.minutes_a_job or Resources.minutes,
        gpus=args.gpus or 0,
        cpus=args.cpus,
        memory_gb=args.memory_gb,
        partition=args.partition,
        account=args.account,
        at_once=args.at_once,
        wait=not args.no_wait,
    )


def _check(step: str, args: argparse.Namespace) -> None:
    """CMBurdenError for options that do not fit the step or the executor."""
    if (args.folds or args.leave_out_each) and step not in SELECTING:
        raise CMBurdenError(
            f"{step} takes neither --folds nor --leave-out-each; they are for "
            f"{' and '.join(SELECTING)}"
        )
    if args.executor != "none" and step not in OUT_AT:
        raise CMBurdenError(
            f"{step} takes seconds and is no job; leave --executor away (it is for "
            f"{', '.join(OUT_AT)})"
        )
    check_resources(args)


def check_resources(args: argparse.Namespace) -> None:
    """CMBurdenError for options of :func:`add_resource_options` that do not fit the executor."""
    if args.executor == "none":
        _check_here(args)
    else:
        _check_job(args)


def _check_here(args: argparse.Namespace) -> None:
    """CMBurdenError for options of jobs, where no job is asked for."""
    given = [name for name in _JOB_OPTIONS if getattr(args, name) is not None]
    if given:
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        raise CMBurdenError(
            f"{options}: only jobs have this; add --executor local or --executor slurm"
        )


def _check_job(args: argparse.Namespace) -> None:
    """CMBurdenError where the executor cannot do what is asked for."""
    if args.no_wait and args.executor != "slurm":
        raise CMBurdenError("--no-wait: only SLURM jobs go on by themselves; leave it away")
    if args.executor == "slurm":
        missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
        if missing:
            raise CMBurdenError(
                f"--executor slurm: {' and '.join(missing)} not found on PATH; call it on a login "
                "node of the cluster, or use --executor local here"
            )


def _out(step: str, rest: list[str]) -> Path:
    """OUT among the step's arguments; CMBurdenError where options come first."""
    place = OUT_AT[step]
    if len(rest) <= place or any(argument.startswith("-") for argument in rest[: place + 1]):
        raise CMBurdenError(
            f"train {step}: write its folders and files, OUT the last of them, right after {step}; "
            "options follow"
        )
    return Path(rest[place])


def runs_of(
    step: str,
    rest: list[str],
    *,
    folds: int | None = None,
    leave_out_each: bool = False,
    threads: int | None = None,
) -> list[StepRun]:
    """The calls of ``step`` with the arguments ``rest``: one, or one for each part left out.

    Each of several has its own folder in OUT: fold-0, fold-1 ... or without-NAME.
    """
    out = _out(step, rest)
    if not folds and not leave_out_each:
        return [StepRun(step, tuple(rest), out, threads)]
    parts = _folds(rest, folds) if folds else _left_out(Path(rest[0]))
    runs = []
    for folder, option in parts:
        arguments = [*rest, *option]
        arguments[OUT_AT[step]] = str(out / folder)
        runs.append(StepRun(step, tuple(arguments), out / folder, threads))
    return runs


def _folds(rest: list[str], count: int) -> list[tuple[str, list[str]]]:
    """Folder and option of each fold."""
    if any(argument.split("=")[0] == "--fold" for argument in rest):
        raise CMBurdenError("--folds makes a job for every fold; leave --fold away")
    # A mistake in the folds is reported now, and not by each job when its turn comes.
    selection.select(selection.files(Path(rest[0])), fold=f"0/{count}", without=[])
    return [(f"fold-{number}", ["--fold", f"{number}/{count}"]) for number in range(count)]


def _left_out(slabs: Path) -> list[tuple[str, list[str]]]:
    """Folder and option for each acquisition or cohort of the files in ``slabs``."""
    paths = selection.files(slabs)
    names = selection.names(paths)
    if not names:
        raise CMBurdenError(
            f"--leave-out-each: {slabs} holds no slabs of an acquisition or cohort with a name"
        )
    for name in names:
        selection.select(paths, fold=None, without=[name])
    return [
        ("without-" + re.sub(r"[^A-Za-z0-9._-]+", "-", name), ["--without", name]) for name in names
    ]
