"""Training steps as jobs through submitit: in this process, in processes of their own, or on SLURM.

A job calls the step's ``main`` with its arguments. A step resumes from the files that it has
written (``checkpoint.pt``, finished slabs). A job that is timed out or preempted is therefore
queued again with the same arguments and loses only the work after its last checkpoint. submitit
provides the mechanism: shortly before its time limit a job gets the signal SIGUSR2. The handler
writes ``checkpoint()`` in place of the submitted call, asks for the job again and raises
SystemExit, wherever the training is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import submitit
from submitit.core.core import Executor
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from cmburden.core.errors import CMBurdenError, sentence
from cmburden.core.threads import bound_threads
from cmburden.train import steps

#: Restarts of a job that runs out of time: submitit's local executor allows six starts, whatever
#: the parameter says. Preemption on SLURM does not count.
TIMEOUTS = 5
#: A job is signalled this long before its end, s, or a quarter of its time: the handler waits for
#: the operation under way.
SIGNAL_S = 90
#: Seconds between two looks at the jobs.
_SLURM_POLL_S, _LOCAL_POLL_S = 1, 0.2
#: Seconds that a local job has to end after Ctrl-C, and again after a second signal.
_END_S = 5
_TAIL_LINES = 15


@dataclasses.dataclass(frozen=True)
class Ended:
    """The end of a step: its return code, and the sentence of a mistake that a user can mend.

    ``log`` is the end of the job's log where there was no such sentence.
    """

    code: int
    mistake: str | None = None
    log: str | None = None


@dataclasses.dataclass(frozen=True)
class StepRun:
    """A call of a step's ``main``; submitit pickles it, and pickles it again to requeue it.

    ``step`` is one of ``steps.STEPS``, ``arguments`` are those of its ``main``, ``out`` is the
    folder that it writes; ``threads`` bounds the numeric libraries where given.
    """

    step: str
    arguments: tuple[str, ...]
    out: Path
    threads: int | None = None

    def __call__(self) -> Ended:
        if self.threads:
            bound_threads(self.threads)
        try:
            return Ended(self.main())
        except (CMBurdenError, OSError) as error:
            advice = sentence(error, self.arguments)
            if advice is None:
                raise
            print(f"cmburden: {advice}", file=sys.stderr)
            return Ended(2, advice)
        except SystemExit as error:
            # argparse exits with 2. All other codes are those of submitit's handler.
            if error.code != 2:
                raise
            return Ended(2)

    def main(self) -> int:
        """Run the step; its exit code."""
        return steps.module_of(self.step).main(list(self.arguments))

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """The same call again: ``out`` holds the state of the training."""
        return submitit.helpers.DelayedSubmission(self)


@dataclasses.dataclass(frozen=True)
class Resources:
    """Where jobs run and the resources of each.

    ``minutes`` is the time limit of one start, ``at_once`` the number of jobs that run side by
    side (None: one, or all on SLURM). Without ``wait`` jobs are submitted only.
    """

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

    @property
    def slurm(self) -> bool:
        return self.executor == "slurm"

    @property
    def signal_delay_s(self) -> int:
        return max(1, min(SIGNAL_S, self.minutes * 60 // 4))


def run_jobs(runs: Sequence[StepRun], resources: Resources) -> int:
    """Submit ``runs``, wait for them if ``resources`` says so, report failures; the exit code."""
    if resources.wait:
        return report(wait_for(runs, resources), resources.logs)
    for run, job in zip(runs, _submit_all(runs, executor_of(resources)), strict=True):
        print(f"{job.job_id} {run.out}")
    print(f"logs in {resources.logs}; squeue shows the jobs, scancel ends them")
    return 0


def executor_of(resources: Resources) -> Executor:
    """submitit's executor, whose jobs are signalled in time and requeued."""
    resources.logs.mkdir(parents=True, exist_ok=True)
    # Jobs and their results are pickles: a file that somebody else has put there beforehand would
    # run. The new folder is empty, and nobody else may write into it.
    folder = Path(tempfile.mkdtemp(prefix="submitted-", dir=resources.logs))
    if resources.executor == "debug":
        return submitit.DebugExecutor(folder)
    if resources.slurm:
        return _slurm(resources, folder)
    executor = submitit.LocalExecutor(folder, max_num_timeout=TIMEOUTS)
    executor.update_parameters(
        signal_delay_s=resources.signal_delay_s,
        timeout_min=resources.minutes,
        gpus_per_node=resources.gpus,
        visible_gpus=_visible(resources.gpus),
    )
    return executor


def _slurm(resources: Resources, folder: Path) -> Executor:
    cpus, memory_gb = resources.cpus, resources.memory_gb
    given = {
        "partition": resources.partition,
        "account": resources.account,
        "gpus_per_node": resources.gpus or None,
        "cpus_per_task": cpus,
        "mem": f"{math.ceil(memory_gb * 1024)}MB" if memory_gb else None,
        "array_parallelism": resources.at_once,
        # Since SLURM 22.05 srun no longer takes this number over from sbatch.
        "srun_args": [f"--cpus-per-task={cpus}"] if cpus else None,
    }
    executor = submitit.SlurmExecutor(folder, max_num_timeout=TIMEOUTS)
    executor.update_parameters(
        **{key: value for key, value in given.items() if value is not None},
        signal_delay_s=resources.signal_delay_s,
        job_name="cmburden",
        time=resources.minutes,
        # SLURM then starts a job again after the loss of a node or preemption without a signal.
        additional_parameters={"requeue": True},
    )
    return executor


def _visible(gpus: int) -> tuple[int, ...]:
    """GPUs that the user's CUDA_VISIBLE_DEVICES leaves: submitit would take the first ones."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not gpus or not re.fullmatch(r"\d+(,\d+)*", listed):
        return ()
    numbers = tuple(int(number) for number in listed.split(","))
    if len(numbers) < gpus:
        raise CMBurdenError(
            f"--gpus {gpus}: CUDA_VISIBLE_DEVICES leaves {len(numbers)}; ask for fewer"
        )
    return numbers


def _submit_all(runs: Sequence[StepRun], executor: Executor) -> list[submitit.Job]:
    """Submit at once; several become one SLURM array."""
    # In an interactive job, sbatch would take that job's variables for the new one's. Elsewhere a
    # site's own variables (SLURM_CONF, SBATCH_ACCOUNT) must reach sbatch.
    interactive = "SLURM_JOB_ID" in os.environ
    with submitit.helpers.clean_env() if interactive else contextlib.nullcontext():
        try:
            with executor.batch() if len(runs) > 1 else contextlib.nullcontext():
                return [executor.submit(run) for run in runs]
        except (FailedJobError, FailedSubmissionError) as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise CMBurdenError(
                f"sbatch refused the job ({lines[-1].strip() if lines else 'it does not say why'});"
                " see --partition, --account and what is asked for"
            ) from error


def wait_for(runs: Sequence[StepRun], resources: Resources) -> list[tuple[StepRun, Ended]]:
    """Run ``runs`` as jobs until all have ended."""
    active: list[tuple[StepRun, submitit.Job]] = []
    try:
        return list(_ends(runs, active, resources))
    except KeyboardInterrupt:
        if resources.slurm:
            numbers = " ".join(job.job_id for _, job in active)
            print(f"cmburden: the jobs go on; to end them: scancel {numbers}", file=sys.stderr)
            raise SystemExit(130) from None
        _end(job for _, job in active)
        raise


def _ends(
    runs: Sequence[StepRun], active: list[tuple[StepRun, submitit.Job]], resources: Resources
) -> Iterator[tuple[StepRun, Ended]]:
    """Submit ``runs`` and yield each with its end; ``active`` holds the jobs that go on.

    SLURM itself holds back the jobs of an array. submitit's local executor starts all at once, so
    that at most ``resources.at_once`` are submitted here.
    """
    executor = executor_of(resources)
    at_once = len(runs) if resources.slurm else (resources.at_once or 1)
    waiting = list(runs)
    while waiting or active:
        free = at_once - len(active)
        if waiting and free:
            active += _started(waiting[:free], executor, resources)
            waiting = waiting[free:]
        for run, job in [pair for pair in active if pair[1].done()]:
            active.remove((run, job))
            yield run, end_of(job, resources)
        if active:
            time.sleep(_SLURM_POLL_S if resources.slurm else _LOCAL_POLL_S)


def _started(
    runs: Sequence[StepRun], executor: Executor, resources: Resources
) -> list[tuple[StepRun, submitit.Job]]:
    """Submit ``runs`` and print where their logs are."""
    log = resources.logs / "controllers.err"
    with contextlib.nullcontext() if resources.slurm else _errors_into(log):
        jobs = _submit_all(runs, executor)
    for run, job in zip(runs, jobs, strict=True):
        print(f"job {job.job_id}: {run.out}, log {job.paths.stdout}", flush=True)
    return list(zip(runs, jobs, strict=True))


def _end(jobs: Iterable[submitit.Job]) -> None:
    """Wait for local jobs to end, and signal those that do not.

    Ctrl-C in a terminal has reached the jobs already, a signal to this process alone has not. A
    second signal at once would keep submitit's controller from killing a task that does not
    listen.
    """
    for job in jobs:
        for _ in range(2):
            until = time.monotonic() + _END_S
            while not job.done() and time.monotonic() < until:
                time.sleep(0.1)
            if not job.done():
                job.cancel()


@contextlib.contextmanager
def _errors_into(path: Path) -> Iterator[None]:
    """Let processes that start meanwhile write their errors to ``path``.

    On Ctrl-C submitit's local controllers would else print a traceback beside the one sentence.
    """
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with path.open("a", encoding="utf-8") as stream:
            os.dup2(stream.fileno(), 2)
            yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def end_of(job: submitit.Job, resources: Resources) -> Ended:
    """The end of a job that is done; code 1 for one that was killed or raised an error."""
    # A local job's result is there at once or never. Over a network file system submitit waits.
    if resources.executor == "local" and not job.paths.result_pickle.exists():
        return Ended(1, log=_tail(job))
    try:
        end: Ended = job.result()
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
    """Print which runs failed and why; the largest exit code.

    Raises CMBurdenError for mistakes that the user can mend.
    """
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
