"""Steps as jobs: debug and local really run, SLURM through a stand-in for its commands."""

import argparse
import importlib
import os
import pickle
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cmburden.core.errors import CMBurdenError
from cmburden.run import cli
from cmburden.train import command, steps, submission
from cmburden.train.submission import Ended, Resources, StepRun

#: A step without libraries: it counts on from the number that it has written, and can wait or fail.
TINY = """
import sys, time
from pathlib import Path
from cmburden.core.errors import CMBurdenError
from cmburden.train.submission import StepRun

class TinyRun(StepRun):
    def main(self):
        return main(self.arguments)

def main(arguments):
    out, *rest = arguments
    state = Path(out) / "state.txt"
    state.parent.mkdir(parents=True, exist_ok=True)
    done = int(state.read_text()) if state.exists() else 0
    with (state.parent / "starts.txt").open("a") as stream:
        print(done, file=stream)
    if "wrong" in rest:
        raise CMBurdenError("the slabs are green; paint them grey")
    if "dies" in rest:
        raise RuntimeError("a bug")
    if "usage" in rest:
        sys.exit(2)
    while done < 30:
        done += 1
        # Whole or absent: a job may be ended between the opening of a file and its writing.
        (state.parent / "state.part").write_text(str(done))
        (state.parent / "state.part").replace(state)
        time.sleep(0.05 if "slow" in rest else 0)
    print("counted to", done)
    return 0
"""

FAKE = {
    # Runs the batch file at once, each part of an array after the other, in the background.
    "sbatch": """
import os, re, subprocess, sys
text = open(sys.argv[1]).read()
if "partition=nowhere" in text:
    sys.exit("sbatch: error: invalid partition specified: nowhere")
# As the real one does, from a copy: submitit renames its file as soon as it knows the job's id.
copy = os.environ["FAKE_SLURM"] + "/batch.sh"
with open(copy, "w") as stream:
    stream.write(text)
array = re.search(r"array=0-(\\d+)", text)
for part in range(int(array[1]) + 1) if array else [None]:
    env = os.environ | {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}
    if part is not None:
        env |= {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(part)}
    loop = 'while bash "$0"; [ -e "$FAKE_SLURM/again" ]; do rm "$FAKE_SLURM/again"; done'
    subprocess.Popen(["bash", "-c", loop, copy], env=env, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True)
print("Submitted batch job 7")
""",
    "srun": """
import os, sys
words = sys.argv[1:]
job, part = "7", os.environ.get("SLURM_ARRAY_TASK_ID")
streams = {}
while words[0].startswith("--"):
    option = words.pop(0)
    if option in ("--output", "--error"):
        path = words.pop(0).replace("%A_%a", f"7_{part}").replace("%j", "7").replace("%t", "0")
        streams[option] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
os.dup2(streams["--output"], 1)
os.dup2(streams["--error"], 2)
os.execvp(words[0], words)
""",
    "scontrol": """
import os
open(os.environ["FAKE_SLURM"] + "/again", "w").close()
""",
    "sacct": """
print("JobID|State|NodeList")
for part in ("7", "7_0", "7_1"):
    print(part + "|RUNNING|here")
""",
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "tiny_step.py").write_text(TINY)
    before = os.environ.get("PYTHONPATH")
    paths = [str(tmp_path / "code"), *([before] if before else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(str(tmp_path / "code"))

    def run(*arguments, folder="out"):
        step = importlib.import_module("tiny_step")
        return step.TinyRun("tiny", (str(tmp_path / folder), *arguments), tmp_path / folder)

    return run


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in FAKE.items():
        (folder / name).write_text(f"#!{sys.executable}\n{text}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    return folder


def resources(tmp_path, executor, **more):
    return Resources(executor, tmp_path / "jobs", **more)


def start(step, rest):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([step, *rest]))


def lines(path):
    return Path(path).read_text().split()


# --- what is called ---


def test_a_run_survives_pickling_and_is_its_own_checkpoint():
    run = StepRun("detector", ("a", "b"), Path("b"), 2)
    assert pickle.loads(pickle.dumps(run)) == run
    again = run.checkpoint()
    assert (again.function, again.args, again.kwargs) == (run, (), {})


def test_options_of_jobs_are_taken_out_and_those_of_the_step_kept(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        submission, "run_jobs", lambda runs, resources: seen.extend([runs, resources]) or 0
    )
    words = "S O --steps 9 --executor local --minutes 4 --cpus 2 --minutes-a-job 30 --seed -1"
    assert cli.main(["train", "--memory-gb", "12", "detector", *words.split()]) == 0
    runs, asked = seen
    arguments = ("S", "O", "--steps", "9", "--minutes", "4", "--seed", "-1")
    assert runs == [StepRun("detector", arguments, Path("O"), 2)]
    assert asked == Resources("local", Path("O/jobs"), 30, 0, 2, 12.0)


def test_without_an_executor_the_step_is_called_as_before(monkeypatch):
    from cmburden.train import release

    monkeypatch.setattr(release, "main", lambda rest: len(rest))
    assert start("release", ["a", "b", "--version", "1"]) == 4
    assert list(command.OUT_AT) == [step for step in steps.STEPS if step in command.OUT_AT]


def test_every_step_has_a_parser_and_a_main():
    assert len(steps.STEPS) == 7
    for step in steps.STEPS:
        module = steps.module_of(step)
        assert vars(module)["__name__"] == f"cmburden.train.{step}"
        assert isinstance(module.parser(), argparse.ArgumentParser)
        assert callable(module.main)


def slabs(folder, names=("ADNI", "AIBL", "random", "New cohort")):
    folder.mkdir()
    for number, name in enumerate(names):
        np.savez(
            folder / f"slab-{number:04d}.npz",
            name=np.array(name),
            person=np.array(f"p{number % 3}"),
        )
    return str(folder)


def test_folds_and_cohorts_have_a_run_and_a_folder_each(tmp_path):
    there = slabs(tmp_path / "slabs")
    runs = command.runs_of("detector", [there, "out", "--steps", "5"], folds=3)
    assert [run.arguments for run in runs] == [
        (there, f"out/fold-{i}", "--steps", "5", "--fold", f"{i}/3") for i in range(3)
    ]
    runs = command.runs_of("verifier", [there, "out"], leave_out_each=True)
    assert [run.arguments[1:] for run in runs] == [
        ("out/without-ADNI", "--without", "ADNI"),
        ("out/without-AIBL", "--without", "AIBL"),
        ("out/without-New-cohort", "--without", "New cohort"),
    ]
    assert [run.out.name for run in runs] == [run.arguments[1][4:] for run in runs]


@pytest.mark.parametrize(
    ("step", "words", "said"),
    [
        ("detector", "S O --gpus 1", "--gpus: only jobs have this"),
        ("release", "--executor local", "release takes seconds"),
        ("mine", "W S O --folds 2", "mine takes neither --folds"),
        ("detector", "--steps 5 S O --executor local", "right after detector"),
        ("detector", "S --executor local", "right after detector"),
        ("detector", "S O --executor local --no-wait", "only SLURM jobs go on"),
        ("detector", "S O --folds 2 --fold 0/2", "leave --fold away"),
        ("detector", "S O --leave-out-each", "no slabs of an acquisition"),
        ("detector", "S O --folds 2", "of 0 person"),
    ],
)
def test_a_mistake_is_one_sentence(step, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CMBurdenError, match=said):
        start(step, words.split())
    assert not list(tmp_path.iterdir())


def test_slurm_that_is_not_there_is_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["train", "detector", "S", "O", "--executor", "slurm"]) == 2
    assert "sbatch and srun not found on PATH" in capsys.readouterr().err


def test_a_steps_own_parser_reads_the_arguments_before_they_queue(monkeypatch, tmp_path):
    from cmburden.train import dataset

    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    monkeypatch.setattr(dataset, "parser", lambda: parser, raising=False)
    with pytest.raises(SystemExit):
        start("dataset", [str(tmp_path), "--slabz", "3", "--executor", "local"])
    assert not list(tmp_path.iterdir())


# --- what runs ---


def test_debug_runs_here(tiny, tmp_path, capsys):
    assert submission.run_jobs([tiny()], resources(tmp_path, "debug")) == 0
    assert "counted to 30" in capsys.readouterr().out
    with pytest.raises(CMBurdenError, match="paint them grey"):
        submission.run_jobs([tiny("wrong")], resources(tmp_path, "debug"))


@pytest.mark.slow
def test_local_runs_one_after_the_other_and_says_what_failed(tiny, tmp_path, capfd):
    runs = [tiny(folder="a"), tiny("dies", folder="b"), tiny("usage", folder="c")]
    assert submission.run_jobs(runs, resources(tmp_path, "local", at_once=2)) == 2
    assert lines(tmp_path / "a/state.txt") == ["30"]
    said = capfd.readouterr().err
    assert "RuntimeError: a bug" in said
    assert f"2 of 3 failed ({tmp_path / 'b'}, {tmp_path / 'c'})" in said
    with pytest.raises(CMBurdenError, match=r"^the slabs are green; paint them grey$"):
        submission.run_jobs([tiny("wrong", folder="d")], resources(tmp_path, "local"))
    assert "Traceback" not in capfd.readouterr().err


def task_of(job) -> int:
    """Process of the task below a local job's controller."""
    children = Path(f"/proc/{job.job_id}/task/{job.job_id}/children")
    return int(children.read_text().split()[0])


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_a_killed_local_job_is_told_from_one_that_ended(tiny, tmp_path):
    asked = resources(tmp_path, "local")
    job = submission.executor_of(asked).submit(tiny("slow"))
    wait_until((tmp_path / "out/state.txt").exists)
    os.kill(task_of(job), signal.SIGKILL)
    wait_until(job.done)
    end = submission.end_of(job, asked)
    assert end.code == 1
    assert end.log


@pytest.mark.slow
def test_training_that_runs_out_of_time_ends_as_if_unbroken(tmp_path, monkeypatch):
    import torch
    from test_train import save_slabs

    from cmburden.train import detector

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    save_slabs(tmp_path)
    rest = ["--steps", "80", "--batch", "1", "--channels", "4", "--seed", "1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    # At five minutes submitit takes any signal for the end of time; at most TIMEOUTS follow.
    asked = resources(tmp_path, "local", minutes=5)
    arguments = (str(tmp_path), str(broken), *rest)
    job = submission.executor_of(asked).submit(StepRun("detector", arguments, broken, 1))
    wait_until((broken / "checkpoint.pt").exists)
    os.kill(task_of(job), signal.SIGUSR2)
    detector.main([str(tmp_path), str(whole), *rest])
    wait_until(job.done)
    assert submission.end_of(job, asked) == Ended(0)
    log = job.stderr() + job.stdout()
    assert f"Requeued job {job.job_id} ({submission.TIMEOUTS - 1} remaining timeouts)" in log
    one, other = (torch.load(f / "detector.pt", weights_only=True) for f in (whole, broken))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_slurm_gets_an_array_with_what_was_asked_for(tiny, tmp_path, slurm, capsys):
    runs = [tiny(folder="a"), tiny("dies", folder="b")]
    asked = resources(
        tmp_path, "slurm", minutes=90, gpus=1, cpus=4, memory_gb=1.5, partition="p", at_once=1
    )
    assert submission.run_jobs(runs, asked) == 1
    assert lines(tmp_path / "a/state.txt") == ["30"]
    assert "a bug" in capsys.readouterr().err
    batch = lines(slurm / "batch.sh")
    for option in (
        "array=0-1%1",
        "time=90",
        "gpus-per-node=1",
        "cpus-per-task=4",
        "mem=1536MB",
        "partition=p",
        "signal=USR2@90",
        "requeue",
    ):
        assert f"--{option}" in batch
    srun = batch.index("srun")
    assert "--cpus-per-task=4" in batch[srun:]


@pytest.mark.slow
def test_slurm_requeues_a_job_that_runs_out_of_time(tiny, tmp_path, slurm):
    asked = resources(tmp_path, "slurm", minutes=5)
    job = submission.executor_of(asked).submit(tiny("slow"))
    wait_until(lambda: (tmp_path / "out/state.txt").exists())
    [task] = [
        int(p.parent.name)
        for p in Path("/proc").glob("[0-9]*/cmdline")
        if b"submitit.core._submit" in _bytes(p) and str(tmp_path).encode() in _bytes(p)
    ]
    os.kill(task, signal.SIGUSR2)
    wait_until(job.done)
    assert submission.end_of(job, asked) == Ended(0)
    starts = lines(tmp_path / "out/starts.txt")
    assert len(starts) == 2
    assert 0 < int(starts[1]) < 30


def _bytes(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_slurm_need_not_be_waited_for_and_its_refusal_is_one_sentence(
    tiny, tmp_path, slurm, capsys
):
    assert submission.run_jobs([tiny()], resources(tmp_path, "slurm", wait=False)) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"7 {tmp_path / 'out'}"
    wait_until(lambda: list((tmp_path / "jobs").rglob("*_result.pkl")))
    with pytest.raises(CMBurdenError, match="invalid partition specified: nowhere"):
        submission.run_jobs([tiny()], resources(tmp_path, "slurm", partition="nowhere"))
