"""Processes that work on the scans of a bucket side by side; the parent takes their results.

Each worker does for a scan what one process alone would do. Where the network lies on a device that
one process holds (a GPU), the parent asks it for all of them: while the device works for one scan,
the workers prepare the next ones and describe the last ones. On a CPU each worker asks a network of
its own, and the workers are the parallelism.

A worker is forked, so that it has what the parent has. The parent therefore forks before it uses a
device: CUDA does not outlive a fork.
"""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from cmburden.core.errors import CMBurdenError, ScanError, sentence, short_text
from cmburden.core.scan import Scan
from cmburden.core.threads import bound_threads, end_with_parent
from cmburden.core.tries import cause

_LOG = logging.getLogger(__name__)
#: Scans for each worker that may be at work or wait for their turn: the bound of the memory.
_AHEAD = 2
#: Has a worker end in order: no half-written file of a scan that it is at work on stays.
_END = signal.SIGUSR1
#: Seconds that it has to do so. A pass of a network takes one or two.
_TO_END_S = 5


class Network(Protocol):
    """A network that knows its device. Arguments and results of ``answer`` can be pickled."""

    @property
    def device_name(self) -> str: ...

    @property
    def answer(self) -> Callable[..., Any]: ...


class Late:
    """A network that is loaded when it is first asked: a bucket whose scans are cached needs none.

    ``load`` loads it, ``one_process`` says whether its device is one that a single process holds.
    """

    def __init__(self, load: Callable[[], Network], one_process: Callable[[], bool] | None = None):
        self._load = load
        self._one_process = one_process or (lambda: False)
        self._network: Network | None = None
        self._parent: Connection | None = None
        self._elsewhere = False

    def ask(self, *arguments: Any) -> Any:
        """The network's answer to ``arguments``."""
        if self._network is None and self._parent is not None:
            self._parent.send(_Where())
            if _received(self._parent):
                self._network = _Parents(self._parent)
        if self._network is None:
            self._network = self._load()
        return self._network.answer(*arguments)

    def through(self, parent: Connection) -> None:
        """In a worker: the parent says by ``parent`` where the network lies."""
        self._parent = parent

    def is_here(self) -> bool:
        """In the parent: whether this process asks the network for the workers."""
        here = self._one_process()
        self._elsewhere |= not here
        return here

    @property
    def device_name(self) -> str:
        """The network's device, or ``cached`` where the network was not needed."""
        if self._network is not None:
            return self._network.device_name
        return "cpu" if self._elsewhere else "cached"


@dataclasses.dataclass(frozen=True)
class _Where:
    """A worker's question where the network lies."""


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A worker's question to the network."""

    arguments: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class _Parents:
    """The network of the parent, as a worker asks it."""

    parent: Connection
    device_name: str = ""

    def answer(self, *arguments: Any) -> Any:
        self.parent.send(_Asked(arguments))
        return _received(self.parent)


@dataclasses.dataclass(frozen=True)
class _Raised:
    """An error that ends the job, or that is the answer to a question."""

    error: BaseException


def _received(parent: Connection) -> Any:
    """The parent's answer; raise the error that it sends."""
    answer = parent.recv()
    if isinstance(answer, _Raised):
        raise answer.error
    return answer


Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Worked(Generic[Result]):
    """What became of a scan, and the seconds that it took."""

    result: Result
    seconds: float


@dataclasses.dataclass
class _Worker:
    """A worker, its connection, the number of the scan at work, and whether it is suspect."""

    process: ForkProcess
    pipe: Connection
    scan: int | None = None
    suspect: bool = False


class Tries(Protocol):
    """Counts the processes that end at work on a scan (``core.tries``)."""

    def begin(self, one: Scan) -> None:
        """ScanError where the scan is given up."""
        ...

    def end(self, one: Scan) -> None: ...

    def suspect(self, one: Scan) -> bool:
        """Whether a process has ended at work on the scan."""
        ...


def number_of(cores: int, scans: int) -> int:
    """Workers for a bucket's ``scans`` on ``cores``: 1 means that no process is started.

    >>> number_of(4, 3), number_of(1, 9), number_of(2, 0)
    (3, 1, 1)
    """
    return max(1, min(cores, scans))


class Workers(Generic[Result]):
    """``work`` for each of ``scans`` in ``number`` processes of ``threads`` threads each."""

    def __init__(
        self,
        work: Callable[[Scan], Result],
        scans: Sequence[Scan],
        network: Late,
        tries: Tries,
        *,
        number: int,
        threads: int,
    ):
        self._scans, self._network, self._tries = scans, network, tries
        self._waiting = deque(range(len(scans)))
        self._ready: dict[int, Worked[Result | ScanError] | _Raised] = {}
        self._next = 0
        self._most = _AHEAD * number
        context = multiprocessing.get_context("fork")
        self._workers: list[_Worker] = []
        for _ in range(number):
            ours, theirs = context.Pipe()
            others = [worker.pipe for worker in self._workers] + [ours]
            arguments = (work, scans, network, theirs, others, threads)
            process = context.Process(target=_serve, args=arguments)
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))

    def results(self) -> Iterator[Worked[Result | ScanError]]:
        """The results in the order of the scans.

        Raises what ``work`` raises. A worker that is killed ends this process in the same way.
        """
        for number in range(len(self._scans)):
            self._next = number
            while number not in self._ready:
                self._hand_out()
                if number not in self._ready:
                    self._listen()
            ready = self._ready.pop(number)
            if isinstance(ready, _Raised):
                raise ready.error
            yield ready

    def close(self) -> None:
        """End the workers. The scans that they were at work on were not the cause of an end."""
        for worker in self._workers:
            if worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, _END)
            worker.pipe.close()
        until = time.monotonic() + _TO_END_S
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            self._end(worker)

    def _end(self, worker: _Worker) -> None:
        if worker.scan is not None:
            self._tries.end(self._scans[worker.scan])
            worker.scan = None

    def _hand_out(self) -> None:
        """Give scans to the workers that have none; a suspect one works while all others wait."""
        for worker in [worker for worker in self._workers if worker.scan is None]:
            if not self._waiting:
                self._retire(worker)
                continue
            number = self._waiting[0]
            one = self._scans[number]
            at_work = [other for other in self._workers if other.scan is not None]
            suspect = self._tries.suspect(one)
            if at_work and (suspect or any(other.suspect for other in at_work)):
                return
            if number >= self._next + self._most:
                return
            self._waiting.popleft()
            try:
                self._tries.begin(one)
            except ScanError as error:
                self._ready[number] = Worked(error, 0.0)
                continue
            worker.scan, worker.suspect = number, suspect
            self._send(worker, number)

    def _retire(self, worker: _Worker) -> None:
        """End a worker that is needed no more; its memory is free for the others."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join()

    def _send(self, worker: _Worker, message: Any) -> None:
        try:
            worker.pipe.send(message)
        except OSError:  # the worker has ended
            self._ended(worker)

    def _listen(self) -> None:
        """Take what the workers have to say; wait for the first of them."""
        speaking = set(wait([worker.pipe for worker in self._workers]))
        for worker in self._workers:
            if worker.pipe not in speaking:
                continue
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                self._ended(worker)
            if isinstance(message, _Where):
                self._send(worker, self._is_here())
            elif isinstance(message, _Asked):
                self._send(worker, self._answer(message))
            elif worker.scan is not None:
                self._ready[worker.scan] = message
                self._end(worker)

    def _is_here(self) -> bool | _Raised:
        try:
            return self._network.is_here()
        except CMBurdenError as error:
            return _Raised(error)

    def _answer(self, asked: _Asked) -> Any:
        try:
            return self._network.ask(*asked.arguments)
        except Exception as error:
            if sentence(error) is None:
                _LOG.exception("the network gives no answer")
            return _Raised(_picklable(error))

    def _ended(self, worker: _Worker) -> NoReturn:
        """End this process as ``worker`` ended: whoever watches it treats both alike."""
        worker.process.join()
        code = worker.process.exitcode or 1
        scan_id = "no scan" if worker.scan is None else self._scans[worker.scan].scan_id
        how = cause(-code) if code < 0 else f" (code {code})"
        _LOG.error("%s: the process at work on it ended%s", scan_id, how)
        # Its count stays, as that of a process that is killed.
        worker.scan = None
        self.close()
        if code > 0:
            sys.exit(code)
        end_by(-code)


def end_by(number: int) -> NoReturn:
    """End this process by the signal ``number``."""
    logging.shutdown()
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # a signal that ends nobody


def _serve(
    work: Callable[[Scan], Any],
    scans: Sequence[Scan],
    network: Late,
    parent: Connection,
    others: Sequence[Connection],
    threads: int,
) -> None:
    """A worker: ``work`` for each scan whose number the parent sends, until the parent ends it."""
    for pipe in others:
        pipe.close()
    # An interrupt reaches all processes of a terminal. The parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(_END, _leave)
    end_with_parent()
    bound_threads(threads)
    network.through(parent)
    with suppress(_Left, EOFError, ConnectionError):  # the parent is done, or gone
        while True:
            number = parent.recv()
            began = time.monotonic()
            message: Worked[Any] | _Raised
            try:
                message = Worked(work(scans[number]), time.monotonic() - began)
            except _Left:
                raise
            except BaseException as error:
                message = _Raised(_picklable(error))
            parent.send(message)


class _Left(BaseException):
    """The parent ends this worker."""


def _leave(*_: Any) -> NoReturn:
    raise _Left


def _picklable(error: BaseException) -> BaseException:
    """``error``, or its text where another process could not have it."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(short_text(error))
    return error
