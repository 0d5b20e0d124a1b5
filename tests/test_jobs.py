"""Jobs: shared, cancelled when nobody waits, never lost."""

import gc
import threading
import weakref
from functools import partial

import numpy as np
import pytest
import torch

from explorer.backbones import Layer
from explorer.calibration import FINE_LEVELS, PAPER_LEVELS, Calibration
from explorer.compute import (
    BACKGROUND,
    FOLLOWING,
    INTERACTIVE,
    Explanation,
    Prediction,
    Request,
    Service,
    State,
    Worker,
    jobs,
)
from explorer.compute.cache import nbytes
from explorer.errors import ExplorerError
from explorer.images import Picture
from explorer.methods import METHODS, Attribution, find

LONG = 30  # seconds after which a wait is a hang


@pytest.fixture
def worker():
    worker = Worker("test")
    yield worker
    worker.close()


class Steps:
    """Work that goes on by one step each time the test says so."""

    def __init__(self, steps=3):
        self.started, self.steps, self.made = threading.Event(), steps, 0
        self.go = threading.Semaphore(0)

    def __call__(self, job):
        job.begin("walking", self.steps)
        self.started.set()
        for _ in range(self.steps):
            assert self.go.acquire(timeout=LONG)
            job.advance(1)
            self.made += 1
        return "done"

    def walk(self, steps=3):
        for _ in range(steps):
            self.go.release()


def test_one_job_for_all_who_ask(worker):
    work = Steps()
    found = []
    threads = [
        threading.Thread(target=lambda i=i: found.append(worker.submit(("k",), work, str(i))))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    work.walk()
    assert len(set(map(id, found))) == 1
    assert found[0].wait(LONG)
    assert (found[0].state, found[0].result, work.made) == (State.DONE, "done", 3)


def test_a_job_stops_when_its_last_waiter_lets_go(worker):
    work = Steps()
    job = worker.submit(("k",), work, "a")
    worker.submit(("k",), work, "b")
    assert work.started.wait(LONG)
    worker.retain("a", set())
    work.walk(1)
    assert not job.settled
    worker.retain("b", {("other",)})
    work.walk(2)
    assert job.wait(LONG)
    assert job.state is State.CANCELLED
    again = Steps(0)
    assert worker.submit(("k",), again, "a").wait(LONG)


def test_retained_jobs_go_on(worker):
    work = Steps()
    job = worker.submit(("k",), work, "a")
    worker.retain("a", {("k",)})
    work.walk()
    assert job.wait(LONG)
    assert job.state is State.DONE


@pytest.mark.parametrize("renewed", [None, "asked again", "retained"])
def test_who_does_not_ask_again_in_time_no_longer_waits(worker, monkeypatch, renewed):
    """A closed tab says nothing: it only stops asking."""
    now = [1000.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    work = Steps()
    job = worker.submit(("k",), work, "a")
    assert work.started.wait(LONG)
    now[0] += 8
    if renewed == "asked again":
        worker.submit(("k",), work, "a")
    elif renewed == "retained":
        worker.retain("a", {("k",)})
    now[0] += 8
    work.walk()
    assert job.wait(LONG)
    assert job.state is (State.DONE if renewed else State.CANCELLED)


def test_background_work_gives_way_and_completes_later(worker):
    order = []
    long = Steps()

    def background(job):
        result = long(job)
        order.append("background")
        return result

    slow = worker.submit(("slow",), background, "a", priority=BACKGROUND)
    assert long.started.wait(LONG)
    quick = worker.submit(("quick",), lambda job: order.append("quick"), "a")
    long.walk(1)
    assert quick.wait(LONG)
    assert not slow.settled
    long.walk(3)
    assert slow.wait(LONG)
    assert order == ["quick", "background"]
    assert slow.result == "done"


def test_first_come_first_served(worker):
    block, order = Steps(1), []
    worker.submit(("block",), block, "a")
    assert block.started.wait(LONG)
    last = [worker.submit((i,), lambda job, i=i: order.append(i), "a") for i in range(5)][-1]
    block.walk(1)
    assert last.wait(LONG)
    assert order == list(range(5))


def test_what_follows_on_interactive_work_goes_after_it_and_before_background(worker):
    block, order = Steps(1), []
    worker.submit(("block",), block, "a")
    assert block.started.wait(LONG)
    asked = [
        worker.submit((name,), lambda job, name=name: order.append(name), "a", priority=priority)
        for name, priority in (("background", BACKGROUND), ("following", FOLLOWING), ("map", INTERACTIVE))
    ]
    block.walk(1)
    assert all(job.wait(LONG) for job in asked)
    assert order == ["map", "following", "background"]


@pytest.mark.parametrize(("later", "goes_on"), [(60, True), (180, False)])
def test_background_work_outlasts_a_tab_that_is_hidden(worker, monkeypatch, later, goes_on):
    """A browser wakes it once a minute only."""
    work = Steps()
    job = worker.submit(("k",), work, "a", priority=BACKGROUND)
    assert work.started.wait(LONG)
    now = jobs.time.monotonic()
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now + later)
    work.walk()
    assert job.wait(LONG)
    assert (job.state is State.DONE) == goes_on


def test_a_partial_result_is_seen_before_the_end(worker):
    work = Steps(1)

    def deliver(job):
        job.deliver("part")
        return work(job)

    job = worker.submit(("k",), deliver, "a")
    assert work.started.wait(LONG)
    assert (job.result, job.settled, job.stage, job.total) == ("part", False, "walking", 1)
    assert job.wait_for_result(0)
    assert not job.wait(0)
    work.walk(1)
    assert job.wait(LONG)
    assert job.result == "done"


def test_passes_are_counted_over_all_stages_and_those_of_a_run_that_gave_way_are_not(worker):
    goes_on, gives_way = threading.Semaphore(0), threading.Event()
    counts = []

    def work(job):
        job.begin("first", 2)
        job.passed(2)
        job.begin("loading", 100)
        job.advance(50)
        job.begin("second", 3)
        job.passed(1)
        counts.append((job.passes, job.done))
        gives_way.set()
        assert goes_on.acquire(timeout=LONG)
        job.passed(2)
        return job.passes

    job = worker.submit(("k",), work, "a", priority=FOLLOWING)
    assert gives_way.wait(LONG)
    urgent = worker.submit(("urgent",), lambda job: None, "a")
    goes_on.release()
    assert urgent.wait(LONG)
    goes_on.release()
    assert job.wait(LONG)
    assert counts == [(3, 1), (3, 1)]
    assert job.result == 5


def test_the_end_is_a_result_too(worker):
    work = Steps()
    job = worker.submit(("k",), work, "a")
    assert not job.wait_for_result(0)
    work.walk()
    assert job.wait_for_result(LONG)
    assert job.wait(LONG)


def test_failures_are_sentences_and_the_worker_lives_on(worker, caplog):
    def refuse(job):
        raise ExplorerError("The picture is blue: choose a red one.")

    def fault(job):
        raise ZeroDivisionError

    refused, broken = worker.submit(("r",), refuse, "a"), worker.submit(("f",), fault, "a")
    assert broken.wait(LONG)
    assert (refused.state, refused.error) == (State.FAILED, "The picture is blue: choose a red one.")
    assert "ZeroDivisionError" in broken.error
    assert "ZeroDivisionError" in caplog.text
    assert worker.submit(("g",), lambda job: 7, "a").wait(LONG)
    worker.forget(("r",))
    assert worker.submit(("r",), lambda job: "red", "a").wait(LONG)


def test_a_finished_job_holds_no_work(worker):
    class Picture:
        pass

    picture = Picture()
    gone = weakref.ref(picture)
    assert worker.submit((0,), lambda job, picture=picture: None, "a").wait(LONG)
    del picture
    assert worker.submit((1,), lambda job: None, "a").wait(LONG)
    gc.collect()
    assert gone() is None


def test_results_are_remembered_up_to_so_many_bytes_beside_those_that_are_shown():
    small = Worker("small", keep=5 * 2**20)

    def made(name, megabytes):
        size = megabytes * 2**20
        result = {
            "one": torch.zeros(size // 8)[:1],
            "other": (np.zeros(size // 4, np.uint8), b"0" * (size // 4)),
        }
        assert small.submit((name,), lambda job: result, "a").wait(LONG)

    for name in "abcdef":
        made(name, 1)
    assert all(small.finished((name,)) for name in "abcdef")  # somebody shows them
    small.retain("a", {("b",), ("f",)})
    made("g", 2)
    assert [name for name in "abcdefg" if small.finished((name,))] == ["b", "f", "g"]
    made("h", 9)
    assert (
        small.finished(("h",)) is not None
    )  # larger than all that may be remembered, and yet what was just made
    small.close()


SIDE = 224


def wall(service, picture_count, methods, levels, waiter):
    """Asks for all that a wall shows, as the page does, and waits for the end."""
    pictures = [Picture(f"{i}", f"{i}", np.zeros((600, 800, 3), np.uint8)) for i in range(picture_count)]
    jobs = [service.prediction(picture, "net", waiter) for picture in pictures]
    for kind in (service.explanation, partial(service.figures, metrics=())):
        jobs += [
            kind(picture, Request(method=method, levels=levels), waiter=waiter)
            for picture in pictures
            for method in methods
        ]
        service.retain(waiter, set(jobs))
    assert all(job.wait(LONG) for job in jobs)
    return [job.result for job in jobs]


class Counting:
    """An engine that makes results of the sizes of real ones out of nothing, and counts them."""

    def __init__(self):
        self.made = 0

    def predict(self, *_):
        self.made += 1
        return Prediction(torch.zeros(1000), ("?",) * 1000, (0, 0, 1, 1))

    def explain(self, picture, request, progress, deliver):
        self.made += 1
        found = Attribution(torch.zeros(SIDE, SIDE), torch.zeros(7, 7), extent=torch.zeros(2))
        levels = request.levels
        curve = Calibration(levels, (0.5,) * len(levels), 0.5, 10)
        where, layer = (0, 0, 1, 1), Layer("last", (), 1280, 7, 7, "maps")
        of = (picture.name, picture.digest, request, "", layer, where, (0, 0, 0), 0, "?", 0.5)
        return Explanation(*of, found, curve, None, 11, 0.1)

    def figures(self, picture, requests, metrics, progress):
        self.made += 1
        return [torch.zeros(29)]


def test_a_whole_wall_comes_back_without_new_work():
    """Twenty pictures and twelve methods with their figures, another value of a control, and the first one again."""
    service = Service(Counting())
    methods = [find(name)() for name in list(METHODS)[:12]]
    first = wall(service, 20, methods, PAPER_LEVELS, "a")
    wall(service, 20, methods, FINE_LEVELS, "a")
    before = service.engine.made
    assert before == 20 + 2 * 2 * 20 * 12
    again = wall(service, 20, methods, PAPER_LEVELS, "a")
    assert service.engine.made == before
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert nbytes(first[20]) == 4 * (SIDE * SIDE + 7 * 7 + 2)


def test_closing_stops_the_running_job():
    worker, work = Worker("closing"), Steps(1)
    job = worker.submit(("k",), work, "a")
    assert work.started.wait(LONG)
    closing = threading.Thread(target=worker.close)
    closing.start()
    work.walk(1)
    closing.join(LONG)
    assert job.wait(LONG)
    assert not worker._thread.is_alive()


def test_who_stops_a_job_gets_it_stopped_until_it_goes_on(worker):
    """Another waiter keeps it."""
    work = Steps()
    job = worker.submit(("k",), work, "a")
    assert work.started.wait(LONG)
    worker.stop("a", {("k",)})
    stopped = worker.submit(("k",), work, "a")
    worker.retain("a", {("k",)})
    assert (stopped.settled, stopped.state, stopped.result) == (True, State.STOPPED, None)
    assert worker.submit(("k",), work, "b") is job
    worker.stop("b", {("k",)})
    worker.go_on("b")
    assert worker.submit(("k",), work, "b") is job
    work.walk()
    assert job.wait(LONG)
    assert job.state is State.DONE
    assert worker.submit(("k",), work, "a") is job


def test_what_a_stopped_job_delivered_is_kept(worker):
    work = Steps()

    def partly(job):
        job.deliver("half")
        return work(job)

    job = worker.submit(("k",), partly, "a")
    assert work.started.wait(LONG)
    worker.stop("a", {("k",)})
    assert worker.submit(("k",), partly, "a").result == "half"
    work.walk(1)
    assert job.wait(LONG)
    assert job.state is State.CANCELLED
    assert worker.submit(("k",), partly, "a").result == "half"
    worker.go_on("a")
    again = worker.submit(("k",), partly, "a")
    assert again.result == "half"
    assert not again.settled
    work.walk()
    assert again.wait(LONG)
    assert (again.state, again.result) == (State.DONE, "done")
