"""A SLURM of one machine with accounting, two nodes, two pretended GPUs; from Debian's packages.

    python tests/slurm/cluster.py        # until Ctrl-C; prints what to export

Everything lies in one temporary folder and listens on ports of its own on loopback, so that it
neither needs nor disturbs what the machine has in /etc/slurm, /etc/munge or MariaDB.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGES = "slurm-wlm munge slurmdbd mariadb-server"
_PROGRAMS = (
    "munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sacctmgr",
)  # fmt: skip
#: Daemons lie in sbin, which the PATH of a user need not have.
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
ACCOUNT = "cmburden"

#: ``proctrack/linuxproc`` and ``task/none`` need no cgroups; ``config_overrides`` lets a node have
#: more memory and processors than the machine. ``cred_expire`` is how long a requeued job waits.
#: SLURM looks at time limits each 30 s and kills a job that did not listen after 30 s more.
_SLURM_CONF = """\
ClusterName=cmburden
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge/socket,cred_expire={requeue_delay}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=1,bf_interval=2
GresTypes=gpu
JobRequeue=1
MinJobAge=300
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
NodeName=cpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={cpu_port} CPUs=2 RealMemory=64000
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={gpu_port} CPUs=2 RealMemory=64000 \
Gres=gpu:2
PartitionName=cpu Nodes=cpu1 Default=YES MaxTime=24:00:00
PartitionName=gpu Nodes=gpu1 MaxTime=24:00:00
"""
#: No driver is asked: two device files that every machine has stand for the GPUs.
_GRES_CONF = """\
AutoDetect=off
NodeName=gpu1 Name=gpu File=/dev/null
NodeName=gpu1 Name=gpu File=/dev/zero
"""
_DBD_CONF = """\
AuthType=auth/munge
AuthInfo={folder}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""


class ClusterError(Exception):
    """A daemon did not come up; carries the end of its log."""

    def __init__(self, daemon: str, log: Path):
        lines = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        super().__init__(f"{daemon} did not come up; the end of {log}:\n" + "\n".join(lines))


def missing() -> str | None:
    """Why no cluster can be brought up here, in a sentence; None where one can."""
    absent = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"{', '.join(absent)} not found: apt-get install {PACKAGES}"
    if os.geteuid() != 0:
        return "slurmd starts jobs as their users, which root only may do"
    return None


def _free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody listens on; all held until all are chosen."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Cluster:
    """The daemons, started in the order that each needs the one before, stopped in reverse.

    Parameters
    ----------
    folder : Path
        Where all files go; a short path, since those of sockets may have 107 characters.
    requeue_delay : int
        Seconds until a requeued job may start again (SLURM's own default is 120).
    """

    def __init__(self, folder: Path, *, requeue_delay: int = 15):
        self.folder = Path(folder)
        ports = _free_ports(4)
        self._values = {
            "folder": self.folder,
            "host": socket.gethostname().split(".")[0],
            "user": "root",
            "password": secrets.token_hex(12),
            "requeue_delay": requeue_delay,
            **dict(zip(("ctld_port", "dbd_port", "cpu_port", "gpu_port"), ports, strict=True)),
        }
        self._daemons: list[tuple[str, subprocess.Popen]] = []
        #: What a process needs to talk to this cluster and no other.
        self.environment = {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": os.pathsep.join((str(self.folder / "bin"), _PATH)),
        }

    def start(self) -> Cluster:
        try:
            self._write_configuration()
            self._start_munge()
            self._start_database()
            self._start_accounting()
            self._start_slurm()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End what runs, jobs first; a second call does nothing."""
        if any(name == "slurmctld" for name, _ in self._daemons):
            with contextlib.suppress(subprocess.SubprocessError):
                self.ask("scancel", "--user", self._values["user"])
                self._wait("jobs", lambda: not self.ask("squeue", "-h"), Path("/dev/null"), 20)
        while self._daemons:
            _, process = self._daemons.pop()
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, *command: str) -> str:
        """Output of one of SLURM's commands."""
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=True,
            timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    def accounted(self, *fields: str) -> list[dict[str, str]]:
        """A row of ``fields`` (sacct's names) for each job that was ever submitted."""
        rows = self.ask(
            "sacct", "-X", "-n", "-P", "-a", "-S", "now-1days", "-o", ",".join(fields)
        ).splitlines()
        return [dict(zip(fields, row.split("|"), strict=True)) for row in rows]

    # --- starting ---
    def _write_configuration(self) -> None:
        for name in ("bin", "munge", "state", "database"):
            (self.folder / name).mkdir(parents=True)
        for name, text in {
            "slurm.conf": _SLURM_CONF, "gres.conf": _GRES_CONF, "slurmdbd.conf": _DBD_CONF,
        }.items():  # fmt: skip
            path = self.folder / name
            # slurmdbd refuses a password that others may read.
            path.touch(mode=0o600 if name == "slurmdbd.conf" else 0o644)
            path.write_text(text.format(**self._values))

        # Snakemake's executor takes every SLURM_* variable from a job before it calls srun, and
        # SLURM_CONF with them: srun would look for a cluster of the machine's own.
        srun = self.folder / "bin" / "srun"
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.folder / "slurm.conf"} exec {_which("srun")} "$@"\n'
        )
        srun.chmod(0o755)

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        folder.chmod(0o711)
        self._daemon(
            "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}",
            f"--log-file={folder / 'log'}", f"--seed-file={folder / 'seed'}",
        )  # fmt: skip
        self._wait("munged", (folder / "socket").exists, self.folder / "munged.out")

    def _start_database(self) -> None:
        """MariaDB that nothing but its socket leads to."""
        data, self._socket = self.folder / "database", self.folder / "database.socket"
        log = self.folder / "mariadb-install-db.out"
        with log.open("wb") as stream:
            code = subprocess.run(
                [_which("mariadb-install-db"), "--no-defaults", "--user=root", f"--datadir={data}",
                 "--auth-root-authentication-method=socket", "--skip-test-db"],
                stdout=stream, stderr=stream, check=False,
            ).returncode  # fmt: skip
        if code:
            raise ClusterError("mariadb-install-db", log)
        self._daemon(
            "mariadbd", "--no-defaults", "--user=root", "--skip-networking", f"--datadir={data}",
            f"--socket={self._socket}", f"--pid-file={self.folder / 'mariadb.pid'}",
            # slurmdbd asks for these; a larger pool than the tests fill would only cost memory.
            "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900",
            # The tests' database need not survive a power cut: each flush would be waited for.
            "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin",
        )  # fmt: skip
        sql = (
            "CREATE DATABASE slurm; "
            f"CREATE USER slurm@localhost IDENTIFIED BY '{self._values['password']}'; "
            "GRANT ALL ON slurm.* TO slurm@localhost;"
        )
        command = ["mariadb", "--no-defaults", f"--socket={self._socket}", "-e"]
        self._wait("mariadbd", lambda: self._works(*command, "SELECT 1"), self._out("mariadbd"), 60)
        subprocess.run([*command, sql], check=True, capture_output=True)

    def _start_accounting(self) -> None:
        self._daemon("slurmdbd", "-D")
        self._wait(
            "slurmdbd", lambda: self._works("sacctmgr", "-n", "list", "cluster"),
            self.folder / "slurmdbd.log", 90,
        )  # fmt: skip
        # Before slurmctld starts: it registers itself with a cluster that is known.
        self.ask("sacctmgr", "-i", "add", "cluster", "cmburden")
        self.ask("sacctmgr", "-i", "add", "account", ACCOUNT, "Cluster=cmburden")
        self.ask("sacctmgr", "-i", "add", "user", self._values["user"], f"Account={ACCOUNT}")

    def _start_slurm(self) -> None:
        self._daemon("slurmctld", "-D", "-c")
        for node in ("cpu1", "gpu1"):
            self._daemon("slurmd", "-D", "-N", node, name=f"slurmd-{node}")
        self._wait(
            "slurmd",
            lambda: self.ask("sinfo", "-h", "-N", "-o", "%N %t").split()
            == ["cpu1", "idle", "gpu1", "idle"],
            self.folder / "slurmctld.log", 60,
        )  # fmt: skip

    def _daemon(self, program: str, *arguments: str, name: str | None = None) -> None:
        """A child of this process, which ends by us or, should we be killed, with us.

        In a session of its own, so that Ctrl-C reaches us first: we end the daemons in order.
        """
        name = name or program
        with self._out(name).open("wb") as stream:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", _which(program), *arguments],
                env=self._environment(), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip
        self._daemons.append((name, process))

    def _out(self, name: str) -> Path:
        return self.folder / f"{name}.out"

    def _environment(self) -> dict[str, str]:
        own = dict(self.environment)
        if hasattr(self, "_socket"):
            # How slurmdbd is told of a socket that is not the system's.
            own["MYSQL_UNIX_PORT"] = str(self._socket)
        return os.environ | own

    def _works(self, *command: str) -> bool:
        with contextlib.suppress(subprocess.SubprocessError):
            self.ask(*command)
            return True
        return False

    def _wait(self, daemon: str, ready: Callable[[], bool], log: Path, seconds: int = 30) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(subprocess.SubprocessError):
                if ready():
                    return
            if any(process.poll() is not None for _, process in self._daemons):
                break
            time.sleep(0.2)
        raise ClusterError(daemon, log)


def _which(program: str) -> str:
    return shutil.which(program, path=_PATH) or program


@contextlib.contextmanager
def cluster(**options) -> Iterator[Cluster]:
    """A cluster in a temporary folder, gone afterwards."""
    # Not below pytest's own folder: paths of sockets may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="cmb-slurm-", dir="/tmp") as folder:
        # Jobs write their logs and read slurm.conf as their users.
        Path(folder).chmod(0o755)
        one = Cluster(Path(folder), **options)
        try:
            yield one.start()
        finally:
            one.stop()


def main() -> int:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    reason = missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    # A plain kill is to end the daemons as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with cluster() as one, contextlib.suppress(KeyboardInterrupt):
        for key, value in one.environment.items():
            print(f"export {key}={value}", flush=True)
        while True:
            time.sleep(3600)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
