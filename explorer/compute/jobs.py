"""Long work as jobs: keyed by content, shared between waiters, cancelled when nobody waits."""

import atexit
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable, Set
from enum import Enum
from typing import Any, Generic, TypeVar

from explorer.compute.cache import LRU, nbytes
from explorer.errors import ExplorerError

T = TypeVar("T")

log = logging.getLogger(__name__)

PROMPT, INTERACTIVE, FOLLOWING, BACKGROUND = range(4)
_LEASES = {BACKGROUND: 120.0}  # seconds; browsers wake a hidden tab once a minute
_LEASE = 10.0
_KEEP = 2**29  # bytes: nine walls of 20 pictures x 12 methods at 224 x 224 pixels
_BARE = 2**13  # bytes of a job with its key and numbers
_HALTED = 256  # waiters


class State(Enum):
    """``CANCELLED`` is what nobody waited for any more, ``STOPPED`` what its waiter does not want until it goes on."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"


class Cancelled(Exception):
    """Raised inside a job when nobody waits for it any more."""


class _Preempted(Exception):
    """Raised inside a job when work that goes before it is queued; it starts again later."""


class Job(Generic[T]):
    """A piece of work and what has become of it.

    ``done`` of ``total`` steps are made in the present ``stage``, ``passes`` forward passes in all; ``result`` may be
    partial while the job runs.
    ``error`` is a sentence for the user; ``refusal`` the refusal behind it, None for an unexpected fault.
    """

    def __init__(self, key: tuple[Hashable, ...], work: Callable[["Job[T]"], T], priority: int) -> None:
        self.key = key
        self.priority = priority
        self.state = State.QUEUED
        self.stage = "Waiting"
        self.done = 0
        self.total = 0
        self.passes = 0
        self.result: T | None = None
        self.error: str | None = None
        self.refusal: ExplorerError | None = None
        self._work: Callable[[Job[T]], T] | None = work
        self._leases: dict[str, float] = {}
        self._delivered = threading.Event()
        self._finished = threading.Event()
        self._interrupt: Callable[[Job[Any]], None] = lambda job: None

    @property
    def settled(self) -> bool:
        return self._finished.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for the end, at most so long; whether it has come."""
        return self._finished.wait(seconds)

    def wait_for_result(self, seconds: float) -> bool:
        """Waits for the end or for a partial result, at most so long; whether either has come."""
        return self._delivered.wait(seconds)

    def begin(self, stage: str, total: int = 0) -> None:
        """Names the stage of the work and the number of its steps."""
        self.stage, self.done, self.total = stage, 0, total
        self._interrupt(self)

    def advance(self, steps: int) -> None:
        """Reports steps made; raises where the job should stop."""
        self.done += steps
        self._interrupt(self)

    def passed(self, passes: int) -> None:
        """Reports forward passes made, each a step."""
        self.passes += passes
        self.advance(passes)

    def deliver(self, partial: T) -> None:
        """Shows a result that is not complete yet."""
        self.result = partial
        self._delivered.set()

    def _finish(self) -> None:
        self._finished.set()
        self._delivered.set()

    @property
    def wanted(self) -> bool:
        now = time.monotonic()
        return any(expiry > now for expiry in list(self._leases.values()))


class Worker:
    """One thread that runs jobs one after the other: prompt, interactive, what follows on them, background.

    Waiters hold leases: a waiter that does not renew its lease within ten seconds, two minutes for background work,
    (a closed tab) or gives its job up (a changed widget) no longer counts, and a job without waiters stops at its
    next step.

    Args:
        keep: bytes of finished jobs that are remembered, with their results; what somebody still shows is remembered
            beyond that.
        when_idle: called on the worker's thread when no job is left.
    """

    def __init__(self, name: str, keep: int = _KEEP, when_idle: Callable[[], None] = lambda: None) -> None:
        self._jobs: dict[tuple[Hashable, ...], Job[Any]] = {}
        self._finished: LRU[tuple[Hashable, ...], Job[Any]] = LRU(
            keep, weigh=lambda job: _BARE + nbytes(job.result), held=lambda job: job.wanted
        )
        self._queue: list[tuple[int, int, Job[Any]]] = []
        self._halted: LRU[str, Set[tuple[Hashable, ...]]] = LRU(_HALTED)
        self._sequence = itertools.count()
        self._changed = threading.Condition()
        self._when_idle = when_idle
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def submit(
        self,
        key: tuple[Hashable, ...],
        work: Callable[[Job[T]], T],
        waiter: str,
        *,
        priority: int = INTERACTIVE,
    ) -> Job[T]:
        """The job of this key, queued unless it is known; renews the waiter's lease.

        It begins with what one that was cancelled had delivered. While the waiter has stopped it and it has not come to
        its end, a stopped job stands in, with what is delivered so far.

        Args:
            work: called with the job on the worker's thread; returns the result.
        """
        with self._changed:
            job = self._known(key)
            ended = job is not None and job.state in (State.DONE, State.FAILED)
            if not ended and key in self._stopped_by(waiter):
                return _stopped(Job(key, work, priority), job)
            if job is None or job.state is State.CANCELLED:
                former = job
                job = self._jobs[key] = Job(key, work, priority)
                if former is not None:
                    job.deliver(former.result)
                job._interrupt = self._interrupt
                self._push(job)
            self._renew(job, waiter)
            return job

    def retain(self, waiter: str, keys: Set[tuple[Hashable, ...]]) -> None:
        """Renews the waiter's leases on these jobs that it has not stopped, and gives up its interest in all others."""
        with self._changed:
            stopped = self._stopped_by(waiter)
            for job in (*self._jobs.values(), *self._finished):
                if waiter in job._leases and (
                    job.key not in keys or (job.key in stopped and not job.settled)
                ):
                    del job._leases[waiter]
            for job in filter(None, map(self._known, keys)):
                if job.settled or job.key not in stopped:
                    self._renew(job, waiter)

    def stop(self, waiter: str, keys: Set[tuple[Hashable, ...]]) -> None:
        """Gives up the waiter's interest in these jobs, also when it asks for them again, until it goes on."""
        with self._changed:
            self._halted.put(waiter, self._stopped_by(waiter) | keys)
            for job in self._jobs.values():
                if job.key in keys:
                    job._leases.pop(waiter, None)

    def go_on(self, waiter: str) -> None:
        """Lets the waiter ask again for what it has stopped."""
        with self._changed:
            self._halted.drop(waiter)

    def _stopped_by(self, waiter: str) -> Set[tuple[Hashable, ...]]:
        return self._halted.get(waiter) or frozenset()

    def forget(self, key: tuple[Hashable, ...]) -> None:
        """Drops a finished job, so that the next submission runs it again."""
        with self._changed:
            self._finished.drop(key)

    def close(self) -> None:
        """Stops at the next step of the running job; a thread inside torch must not outlive the interpreter."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=10)

    def finished(self, key: tuple[Hashable, ...]) -> Job[Any] | None:
        """The finished job of this key, if it is still remembered."""
        with self._changed:
            return self._finished.get(key)

    def known(self, key: tuple[Hashable, ...]) -> Job[Any] | None:
        """The job of this key, if it is not settled yet or still remembered."""
        with self._changed:
            return self._known(key)

    def _known(self, key: tuple[Hashable, ...]) -> Job[Any] | None:
        return self._jobs.get(key) or self._finished.get(key)

    def _renew(self, job: Job[Any], waiter: str) -> None:
        job._leases[waiter] = time.monotonic() + _LEASES.get(job.priority, _LEASE)

    def _push(self, job: Job[Any]) -> None:
        heapq.heappush(self._queue, (job.priority, next(self._sequence), job))
        self._changed.notify()

    def _interrupt(self, job: Job[Any]) -> None:
        if self._closing or not job.wanted:
            raise Cancelled
        if job.priority > INTERACTIVE and self._queue and self._queue[0][0] < job.priority:
            raise _Preempted

    def _run(self) -> None:
        while True:
            if not self._queue:
                self._when_idle()
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                _, _, job = heapq.heappop(self._queue)
            work = job._work
            assert work is not None
            try:
                self._interrupt(job)
                job.state, job.passes = State.RUNNING, 0
                job.result = work(job)
                job.state = State.DONE
            except _Preempted:
                job.state, job.stage = State.QUEUED, "Waiting"
                with self._changed:
                    self._push(job)
                continue
            except Cancelled:
                with self._changed:
                    if job.wanted and not self._closing:  # asked for again in the meantime
                        job.state = State.QUEUED
                        self._push(job)
                        continue
                    del self._jobs[job.key]
                    job.state, job._work = State.CANCELLED, None
                    if job.result is not None:
                        self._finished.put(job.key, job)
                job._finish()
                continue
            except ExplorerError as error:
                job.state, job.error, job.refusal = State.FAILED, str(error), error
            except Exception as error:
                log.exception("A job failed: %s", job.stage)
                job.state = State.FAILED
                job.error = (
                    f"An unexpected fault ({type(error).__name__}) stopped this; the server's log has it."
                )
            job._work = None
            with self._changed:
                del self._jobs[job.key]
                self._finished.put(job.key, job)
            job._finish()


def _stopped(job: Job[T], known: Job[T] | None) -> Job[T]:
    """The job as stopped before it was queued, with what one that is known has delivered."""
    job.state, job.stage, job._work = State.STOPPED, "Stopped", None
    job.result = known.result if known is not None else None
    job._finish()
    return job
