"""Acknowledged decisions while servers are killed, disks fill up and files are replaced.

``make acknowledged`` runs 10,000 decisions: two readers, each with a server in a process of its own
and two tabs that decide as fast as the server answers. Meanwhile a server is killed (SIGKILL) at
random moments, the room on disk ends, and the reader's file is removed, emptied, flipped or
replaced by an older copy. A tab repeats a decision until it is acknowledged, as the page does. In
the end each decision is in the reader's file once.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import http.client
import json
import os
import random
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import reviewable

from cmburden.core.paths import Layout

TABS = 2
#: Seconds within which a server answers again after whatever was done to it.
PATIENCE_S = 120.0
SHORT_OF_ROOM_S = 0.3
#: Less than any file of decisions has.
_ROOM_BYTES = 4096


class Server:
    """``cmburden review`` of one reader, which is started again after it was killed."""

    def __init__(self, output: Path, reader: str, said: Path):
        self.output, self.reader, self.said = output, reader, said
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "cmburden.run.cli", "review", str(self.output)]
        with self.said.open("a") as errors:
            self.process = subprocess.Popen(
                [*command, "--reader", self.reader],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        for line in self.process.stdout:
            if address := re.search(r"http://127.0.0.1:(\d+)/\?token=(\S+)", line):
                self.port, self.token = int(address[1]), address[2]
                return
        raise AssertionError(f"the review of {self.reader} did not start: {self.said.read_text()}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=120)
        return self.process.returncode

    def ask(self, path: str, body: dict | None = None) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {self.token}"}
            connection.request("POST" if body else "GET", path, json.dumps(body or {}), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


@dataclasses.dataclass
class Reader:
    """A reader's server, and the decisions that were acknowledged, by their note."""

    server: Server
    path: Path
    due: int
    acknowledged: list[str] = dataclasses.field(default_factory=list)
    refusals: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    events: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    faults: list[str] = dataclasses.field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return len(self.acknowledged) >= self.due or bool(self.faults)

    def tab(self, number: int) -> None:
        """Decide until the reader's share is done; each decision is noted with its own name."""
        choose = random.Random(f"{self.server.reader} {number}")
        for n in range(self.due // TABS):
            name = f"{self.server.reader}-{number}-{n}"
            if choose.random() < 0.3:
                sent = {"action": "add", "at": [choose.uniform(-40, 40) for _ in range(3)]}
            else:
                sent = {"action": choose.choice(["accept", "reject"])}
            sent |= {"item": choose.randrange(5), "note": name, "key": name}
            if not self.acknowledge(sent):
                return

    def acknowledge(self, sent: dict) -> bool:
        """Send a decision until the server acknowledges it; False if it never does."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and not self.faults:
            try:
                status, answer = self.server.ask("/api/decisions", sent)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)  # killed; perhaps with the decision on disk
                continue
            if status == 200:
                self.acknowledged.append(sent["note"])
                return True
            if status == 403:
                continue  # the port was reused by a server of another token
            if status not in (409, 507) or "error" not in answer:
                break
            self.refusals[status] += 1
            time.sleep(0.02)
        self.faults.append(f"{sent['note']} was never acknowledged")
        return False

    def lasting(self) -> list[tuple]:
        """note, scan_id and mark_id of all decisions in the reader's file."""
        with contextlib.closing(sqlite3.connect(self.path)) as base:
            assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return base.execute("SELECT note, scan_id, mark_id FROM decisions").fetchall()


# --- what happens meanwhile ---


def killed(reader: Reader) -> None:
    reader.server.kill()
    reader.server.start()


def short_of_room(reader: Reader) -> None:
    """No file can grow for a moment, as on a full disk."""
    pid = reader.server.process.pid
    former = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (_ROOM_BYTES, former[1]))
    time.sleep(SHORT_OF_ROOM_S)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, former)


def removed(reader: Reader) -> None:
    reader.path.unlink()


def emptied(reader: Reader) -> None:
    os.truncate(reader.path, 0)


def flipped(reader: Reader) -> None:
    with reader.path.open("r+b") as stream:
        stream.seek(4096)
        page = stream.read(4096)
        stream.seek(4096)
        stream.write(bytes(255 - byte for byte in page))


def replaced_by_older(reader: Reader) -> None:
    older = reader.path.with_name("older.part")
    with contextlib.closing(sqlite3.connect(reader.path)) as base:
        base.execute("VACUUM INTO ?", (str(older),))
    wait_for_more(reader)
    older.replace(reader.path)


EVENTS = (killed, short_of_room, removed, emptied, flipped, replaced_by_older)


def wait_for_more(reader: Reader) -> None:
    """Wait until the server has seen to what was done: a kill at once would end its memory."""
    before, until = len(reader.acknowledged), time.monotonic() + PATIENCE_S
    while len(reader.acknowledged) < before + 3 and not reader.is_done:
        assert time.monotonic() < until, f"{reader.server.reader}: no decision is acknowledged"
        time.sleep(0.01)


def disturb(reader: Reader, times: int, seed: int) -> None:
    """Let each event happen ``times`` times, in random order, spread over the decisions."""
    choose = random.Random(f"{seed} {reader.server.reader}")
    events = [event for event in EVENTS for _ in range(times)]
    choose.shuffle(events)
    try:
        for number, event in enumerate(events):
            start = reader.due * (number + choose.random()) / (len(events) + 1)
            while len(reader.acknowledged) < start and not reader.is_done:
                time.sleep(0.002)
            if reader.is_done:
                return
            event(reader)
            reader.events[event.__name__] += 1
            wait_for_more(reader)
    except Exception as error:
        reader.faults.append(f"{type(error).__name__}: {error}")


def trial(folder: Path, decisions: int, times: int, seed: int = 0) -> dict[str, Reader]:
    """``decisions`` of two readers under each event ``times`` times; the readers, by name."""
    layout: Layout = reviewable.cohort(folder, participants=3).layout
    readers = {
        name: Reader(
            Server(layout.root, name, folder / f"{name}.log"),
            layout.reader_file(name),
            decisions // 2 // TABS * TABS,
        )
        for name in ("AB", "CD")
    }
    threads = [
        threading.Thread(target=work, args=arguments)
        for reader in readers.values()
        for work, arguments in [
            (disturb, (reader, times, seed)),
            *((reader.tab, (number,)) for number in range(TABS)),
        ]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for reader in readers.values():
        if reader.server.stop():
            reader.faults.append("the review did not end well")
    return readers


def faults_of(reader: Reader) -> list[str]:
    """What was lost, doubled or numbered twice; empty if all is well."""
    faults = list(reader.faults)
    rows = reader.lasting()
    times = collections.Counter(note for note, _, _ in rows)
    faults += [f"{name} is lost" for name in reader.acknowledged if not times[name]]
    faults += [f"{name} is there {n} times" for name, n in times.items() if n > 1]
    marks = collections.Counter((scan, mark) for _, scan, mark in rows if mark is not None)
    faults += [f"mark {mark} was given {n} times" for mark, n in marks.items() if n > 1]
    if len(reader.acknowledged) != reader.due or len(rows) != reader.due:
        faults.append(
            f"{reader.due} due, {len(reader.acknowledged)} acknowledged, {len(rows)} kept"
        )
    said = reader.server.said.read_text()
    if "Traceback" in said:
        faults.append(said)
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=4, help="how often each event happens")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began, n_faults = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        readers = trial(Path(folder), arguments.decisions, arguments.times, arguments.seed)
        for name, reader in readers.items():
            faults = faults_of(reader)
            n_faults += len(faults)
            print(
                f"{name}: {len(reader.acknowledged)} acknowledged, refused {dict(reader.refusals)}"
            )
            print("\n".join(faults) or "none lost, none doubled")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
