"""Training steps as jobs through submitit: here and now, in a process of their own, or on SLURM.

A job calls the step's ``main`` with its arguments. Steps go on from what they have written
(``checkpoint.pt``, finished slabs), so that a job which is timed out or preempted is queued again
as it is and loses only what came after its last checkpoint. How submitit does it: shortly before
the time is over SIGUSR2 is sent, its handler writes ``checkpoint()`` in place of the submitted
call, asks for the job again and leaves by SystemExit, wherever the training is.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from cmburden.core.errors import CMBurdenError, sentence
from cmburden.core.threads import bound_threads
from cmburden.train import selection

EXECUTORS = ("none", "debug", "local", "slurm")
#: Steps that may be jobs: where OUT stands among the arguments that follow the step's name.
OUT_AT = {"dataset": 0, "detector": 1, "mine": 2, "verifier": 1}
#: Steps that take ``--fold`` and ``--without`` (cmburden.train.selection).
SELECTING = ("detector", "verifier")
#: How often a job that ran out of time is started again: submitit's local executor allows six
#: starts, whatever it is asked for. Preemption on SLURM does not count.
TIMEOUTS = 5
_TAIL_LINES = 15


@dataclasses.dataclass(frozen=True)
class Ended:
    """What became of a step: its return code, and the sentence of a mistake that a user can mend.

    ``log`` is the end of the job's log where there was no such sentence.
    """

    code: int
    mistake: str | None = None
    log: str | None = None


@dataclasses.dataclass(frozen=True)
class StepRun:
    """A call of a step's ``main``; submitit pickles it, and pickles it again to requeue it.

    ``module`` is the step's, ``arguments`` are those of its ``main``; ``threads`` bounds the
    numeric libraries where given.
    """

    module: str
    arguments: tuple[str, ...]
    out: Path
    threads: int | None = None

    def __call__(self) -> Ended:
        if self.threads:
            bound_threads(self.threads)
        try:
            return Ended(importlib.import_module(self.module).main(list(self.arguments)))
        except (CMBurdenError, OSError) as error:
            said = sentence(error, self.arguments)
            if said is None:
                raise
            print(f"cmburden: {said}", file=sys.stderr)
            return Ended(2, said)
        except SystemExit as error:
            # argparse leaves with 2. Anything else is submitit's handler, on its way out.
            if error.code != 2:
                raise
            return Ended(2)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """The same call: what was learnt is in OUT already."""
        return submitit.helpers.DelayedSubmission(self)


@dataclasses.dataclass(frozen=True)
class Resources:
    """Where jobs run and what each is given; ``minutes`` is the time limit of one start."""

    executor: str
    logs: Path
    minutes: int = 240
    gpus: int = 0
    cpus: int | None = None
    memory_gb: float | None = None
    partition: str | None = None
    account: str | None = None
    at_once: int | None = None
    wait: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "jobs", f"for {', '.join(OUT_AT)}; may also follow the step's own arguments"
    )
    group.add_argument(
        "--executor",
        choices=EXECUTORS,
        default="none",
        help="none: in this process; debug: the same through submitit; local: a process of its "
        "own; slurm: sbatch",
    )
    group.add_argument("--minutes-a-job", type=_at_least(1), metavar="N", help="240 if not given")
    group.add_argument("--gpus", type=_at_least(0), metavar="N", help="none if not given")
    group.add_argument("--cpus", type=_at_least(1), metavar="N")
    group.add_argument("--memory-gb", type=_at_least(0.1, float), metavar="GB", help="slurm only")
    group.add_argument("--partition", help="slurm only")
    group.add_argument("--account", help="slurm only")
    group.add_argument("--logs", type=Path, metavar="FOLDER", help="OUT/jobs if not given")
    group.add_argument(
        "--at-once",
        type=_at_least(1),
        metavar="N",
        help="jobs of an array that run side by side (local: 1, slurm: all if not given)",
    )
    group.add_argument("--no-wait", action="store_true", help="slurm only: print job ids and end")
    array = group.add_mutually_exclusive_group()
    array.add_argument(
        "--folds", type=_at_least(2), metavar="K", help="K jobs, each without a K-th of people"
    )
    array.add_argument(
        "--leave-out-each", action="store_true", help="a job without each acquisition or cohort"
    )


def _at_least(least: float, kind: type = int):
    """An argparse type: a number of ``kind`` that is at least ``least``."""

    def number(text: str):
        with contextlib.suppress(ValueError):
            if math.isfinite(value := kind(text)) and value >= least:
                return value
        raise argparse.ArgumentTypeError(f"{text} is no number of at least {least}")

    return number


def main(step: str, rest: list[str], args: argparse.Namespace) -> int:
    """Run ``step`` with the arguments ``rest``, in which options of jobs may stand too.

    ``args`` holds those options that stood before the step. Returns the step's code; of several
    the largest. Raises CMBurdenError for what the user can mend.
    """
    parser = argparse.ArgumentParser(prog=f"cmburden train {step}", add_help=False)
    parser.allow_abbrev = False
    add_arguments(parser)
    args, rest = parser.parse_known_args(rest, argparse.Namespace(**vars(args)))
    _check(step, args)
    asks = {"-h", "--help"} & set(rest)
    if asks or (args.executor == "none" and not args.folds and not args.leave_out_each):
        return importlib.import_module(f"cmburden.train.{step}").main(rest)
    runs = runs_of(
        step, rest, folds=args.folds, leave_out_each=args.leave_out_each, threads=args.cpus
    )
    _check_arguments(step, runs)
    if args.executor == "none":
        return report([(run, run()) for run in runs], None)
    resources = Resources(
        executor=args.executor,
        logs=args.logs or _out(step, rest) / "jobs",
        minutes=args.minutes_a_job or Resources.minutes,
        gpus=args.gpus or 0,
        cpus=args.cpus,
        memory_gb=args.memory_gb,
        partition=args.partition,
        account=args.account,
        at_once=args.at_once,
        wait=not args.no_wait,
    )
    return run_jobs(runs, resources)


def _check(step: str, args: argparse.Namespace) -> None:
    given = {
        "--minutes-a-job": args.minutes_a_job,
        "--gpus": args.gpus,
        "--cpus": args.cpus,
        "--memory-gb": args.memory_gb,
        "--partition": args.partition,
        "--account": args.account,
        "--logs": args.logs,
        "--at-once": args.at_once,
        "--no-wait": args.no_wait or None,
    }
    given = [option for option, value in given.items() if value is not None]
    if args.executor == "none" and given:
        raise CMBurdenError(
            f"{', '.join(given)}: only jobs have this; add --executor local or --executor slurm"
        )
    if args.executor != "none" and step not in OUT_AT:
        raise CMBurdenError(
            f"{step} takes seconds and is no job; leave --executor away (it is for "
            f"{', '.join(OUT_AT)})"
        )
    if (args.folds or args.leave_out_each) and step not in SELECTING:
        raise CMBurdenError(
            f"{step} takes neither --folds nor --leave-out-each; they are for "
            f"{' and '.join(SELECTING)}"
        )
    if args.no_wait and args.executor != "slurm":
        raise CMBurdenError("--no-wait: only SLURM jobs go on by themselves; leave it away")
    if args.executor == "slurm":
        missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
        if missing:
            raise CMBurdenError(
                f"--executor slurm: {' and '.join(missing)} not found on PATH; call it on a login "
                "node of the cluster, or use --executor local here"
            )


def _check_arguments(step: str, runs: list[StepRun]) -> None:
    """Let the step's own ``parser()``, where it has one, read the arguments before they queue."""
    parser = getattr(importlib.import_module(f"cmburden.train.{step}"), "parser", None)
    for run in runs if parser else []:
        parser().parse_args(list(run.arguments))


def _out(step: str, rest: list[str]) -> Path:
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
    """The calls of ``step`` that are asked for: one, or one for each part that is left out.

    Each of several has its own folder in OUT: fold-0, fold-1 ... or without-NAME.
    """
    out = _out(step, rest)
    if folds and any(argument.split("=")[0] == "--fold" for argument in rest):
        raise CMBurdenError("--folds makes a job for every fold; leave --fold away")
    parts: list[tuple[str | None, list[str]]] = [(None, [])]
    if folds:
        parts = [(f"fold-{i}", ["--fold", f"{i}/{folds}"]) for i in range(folds)]
        # What is wrong with the folds is said now, not by each job when its turn comes.
        selection.select(selection.files(Path(rest[0])), fold=f"0/{folds}", without=[])
    elif leave_out_each:
        parts = [
            ("without-" + re.sub(r"[^A-Za-z0-9._-]+", "-", name), ["--without", name])
            for name in _names(Path(rest[0]))
        ]
    runs = []
    for folder, further in parts:
        arguments = [*rest, *further]
        if folder:
            arguments[OUT_AT[step]] = str(out / folder)
        runs.append(
            StepRun(
                f"cmburden.train.{step}", tuple(arguments), Path(arguments[OUT_AT[step]]), threads
            )
        )
    return runs


def _names(slabs: Path) -> list[str]:
    paths = selection.files(slabs)
    names = selection.names(paths)
    if not names:
        raise CMBurdenError(
            f"--leave-out-each: {slabs} holds no slabs of an acquisition or cohort with a name"
        )
    for name in names:
        selection.select(paths, fold=None, without=[name])
    return names


def run_jobs(runs: list[StepRun], resources: Resources) -> int:
    """Submit ``runs``; wait for them unless told otherwise; say what failed."""
    if not resources.wait:
        for run, job in zip(runs, _submit_all(runs, executor_of(resources)), strict=True):
            print(f"{job.job_id} {run.out}")
        print(f"logs in {resources.logs}; squeue shows the jobs, scancel ends them")
        return 0
    return report(wait_for(runs, resources), resources.logs)


def executor_of(resources: Resources) -> submitit.core.core.Executor:
    """submitit's executor, set up: its jobs are signalled in time and requeued."""
    resources.logs.mkdir(parents=True, exist_ok=True)
    # Time for the handler: its pickle is small, but it waits for the operation under way.
    common = {"signal_delay_s": max(1, min(90, resources.minutes * 60 // 4))}
    if resources.executor == "debug":
        return submitit.DebugExecutor(resources.logs)
    if resources.executor == "local":
        executor = submitit.LocalExecutor(resources.logs, max_num_timeout=TIMEOUTS)
        executor.update_parameters(
            **common,
            timeout_min=resources.minutes,
            gpus_per_node=resources.gpus,
            visible_gpus=_visible(resources.gpus),
        )
        return executor
    executor = submitit.SlurmExecutor(resources.logs, max_num_timeout=TIMEOUTS)
    asked = {
        "partition": resources.partition,
        "account": resources.account,
        "gpus_per_node": resources.gpus or None,
        "cpus_per_task": resources.cpus,
        "mem": f"{math.ceil(resources.memory_gb * 1024)}MB" if resources.memory_gb else None,
        "array_parallelism": resources.at_once,
        # Since SLURM 22.05 srun no longer takes this number over from sbatch.
        "srun_args": [f"--cpus-per-task={resources.cpus}"] if resources.cpus else None,
    }
    executor.update_parameters(
        **common,
        **{key: value for key, value in asked.items() if value is not None},
        job_name="cmburden",
        time=resources.minutes,
        # A node that is lost, or preemption without warning, starts the job again as well.
        additional_parameters={"requeue": True},
    )
    return executor


def _visible(gpus: int) -> tuple[int, ...]:
    """GPUs that the user's CUDA_VISIBLE_DEVICES leaves: submitit else takes the first ones."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not gpus or not re.fullmatch(r"\d+(,\d+)*", listed):
        return ()
    numbers = tuple(int(number) for number in listed.split(","))
    if len(numbers) < gpus:
        raise CMBurdenError(
            f"--gpus {gpus}: CUDA_VISIBLE_DEVICES leaves {len(numbers)}; ask for fewer"
        )
    return numbers


def _submit_all(runs: list[StepRun], executor: submitit.core.core.Executor) -> list[submitit.Job]:
    """Submit at once; several become one SLURM array."""
    # Inside an interactive job, that job's variables would be taken for the new one's. Outside, a
    # site's own (SLURM_CONF, SBATCH_ACCOUNT) must reach sbatch.
    inside = "SLURM_JOB_ID" in os.environ
    with submitit.helpers.clean_env() if inside else contextlib.nullcontext():
        try:
            with executor.batch() if len(runs) > 1 else contextlib.nullcontext():
                return [executor.submit(run) for run in runs]
        except (FailedJobError, FailedSubmissionError) as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise CMBurdenError(
                f"sbatch refused the job ({lines[-1].strip() if lines else 'it does not say why'});"
                " see --partition, --account and what is asked for"
            ) from error


def wait_for(runs: list[StepRun], resources: Resources) -> list[tuple[StepRun, Ended]]:
    """Run ``runs`` as jobs until all have ended."""
    executor = executor_of(resources)
    slurm = resources.executor == "slurm"
    # SLURM itself holds an array's jobs back; submitit's local executor would start all at once.
    at_once = len(runs) if slurm else (resources.at_once or 1)
    waiting, active, ended = list(runs), [], []
    log = resources.logs / "controllers.err"
    try:
        while waiting or active:
            free = at_once - len(active)
            started, waiting = waiting[:free], waiting[free:]
            jobs: list[submitit.Job] = []
            if started:
                with contextlib.nullcontext() if slurm else _errors_into(log):
                    jobs = _submit_all(started, executor)
            for run, job in zip(started, jobs, strict=True):
                print(f"job {job.job_id}: {run.out}, log {job.paths.stdout}", flush=True)
                active.append((run, job))
            still = []
            for run, job in active:
                if job.done():
                    ended.append((run, _ended(job, resources)))
                else:
                    still.append((run, job))
            active = still
            if active:
                time.sleep(1 if slurm else 0.2)
    except KeyboardInterrupt:
        if slurm:
            numbers = " ".join(job.job_id for _, job in active)
            print(f"cmburden: the jobs go on; to end them: scancel {numbers}", file=sys.stderr)
            raise SystemExit(130) from None
        _end(job for _, job in active)
        raise
    return ended


def _end(jobs: Iterable[submitit.Job]) -> None:
    """See local jobs ended. A terminal's Ctrl-C has reached them already, a lone signal has not;
    a second one would keep submitit's controller from killing what does not listen."""
    for job in jobs:
        for _ in range(2):
            until = time.monotonic() + 5
            while not job.done() and time.monotonic() < until:
                time.sleep(0.1)
            if not job.done():
                job.cancel()


@contextlib.contextmanager
def _errors_into(path: Path) -> Iterator[None]:
    """Let processes started meanwhile write their errors to ``path``.

    submitit's local controllers else show a traceback on Ctrl-C, beside the one sentence.
    """
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with path.open("a") as stream:
            os.dup2(stream.fileno(), 2)
            yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _ended(job: submitit.Job, resources: Resources) -> Ended:
    # On one machine a result is there at once or never; over a network file system submitit waits.
    if resources.executor == "local" and not job.paths.result_pickle.exists():
        return Ended(1, log=_tail(job))
    try:
        end = job.result()
    except (FailedJobError, UncompletedJobError):
        return Ended(1, log=_tail(job))
    if end.code and not end.mistake and resources.executor != "debug":
        return dataclasses.replace(end, log=_tail(job))
    return end


def _tail(job: submitit.Job) -> str:
    """The last lines of the job's errors, or of its output where it has none."""
    text = (job.stderr() or "").strip() or (job.stdout() or "").strip()
    return "\n".join(text.splitlines()[-_TAIL_LINES:]) or "it wrote nothing"


def report(ended: list[tuple[StepRun, Ended]], logs: Path | None) -> int:
    """Say which jobs failed and why; their code. A mistake that the user can mend is raised."""
    for run, end in ended:
        if end.log is not None:
            print(f"--- {run.out}, the end of its log:\n{end.log}", file=sys.stderr)
    failed = [run for run, end in ended if end.code]
    mistakes = sorted({end.mistake for _, end in ended if end.mistake})
    if mistakes:
        raise CMBurdenError("; ".join(mistakes))
    if failed:
        where = f"; logs in {logs}" if logs else ""
        print(
            f"cmburden: {len(failed)} of {len(ended)} failed "
            f"({', '.join(str(run.out) for run in failed)}){where}; "
            "mend it and give the same command: it goes on from the last checkpoint",
            file=sys.stderr,
        )
    return max(end.code for _, end in ended)
