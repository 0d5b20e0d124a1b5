"""What a page says of the work that is still to be done."""

import time
from types import SimpleNamespace

from explorer.compute import INTERACTIVE, Job, State
from explorer.compute.jobs import Worker
from explorer.ui import board, live

LONG = 60  # seconds after which a wait is a hang


def job(passes=0, *, settled=False):
    made = Job(("explanation",), lambda job: None, INTERACTIVE)
    made.begin("Score-CAM", 1280)
    made.passed(passes)
    if settled:
        made._finish()
    return made


def test_what_is_left_falls_while_a_job_runs(monkeypatch):
    """Of each network its own passes; what takes more than was thought has none left."""
    monkeypatch.setattr(board, "begun", list)
    running, waiting, done, longer = job(568), job(), job(9, settled=True), job(20)
    takes = {running: ("a", 1291), waiting: ("b", 31), done: ("a", 40), longer: ("a", 15)}
    assert board.Board(takes=takes).left == {"a": 1291 - 568, "b": 31}
    running.passed(4)
    assert board.Board(takes=takes).left == {"a": 1291 - 572, "b": 31}
    for one in (running, waiting, longer):
        one._finish()
    assert not board.Board(takes=takes).left


def test_what_was_given_up_while_a_run_was_late_is_asked_for_again(monkeypatch):
    """A machine that stood still for longer than a waiter may be silent; what the visitor has stopped stays stopped."""
    monkeypatch.setattr(board, "begun", list)
    worker, forgets = Worker("late"), lambda job: (job._leases.clear(), job.begin("Masking"))
    asked = board.Board(deadline=time.monotonic() + LONG)
    late = asked.ask(worker.submit(("late",), forgets, "a"))
    assert late.state is State.CANCELLED
    assert asked.pending
    assert asked.outdated
    worker.stop("a", {("late",)})
    asked = board.Board(deadline=time.monotonic() + LONG)
    asked.ask(worker.submit(("late",), forgets, "a"))
    assert not asked.pending
    assert not asked.outdated
    worker.close()


def test_the_time_left_is_that_of_each_network(monkeypatch):
    told, paces = [], {"a": 0.5, "b": 0.02}
    engine = SimpleNamespace(pace=paces.get)
    monkeypatch.setattr(board, "begun", list)
    monkeypatch.setattr("explorer.ui.sidebar.service", lambda: SimpleNamespace(engine=engine))
    monkeypatch.setattr(live.st, "progress", lambda share, text: told.append(text))
    running, waiting = job(568), job()
    asked = board.Board(takes={running: ("a", 588), waiting: ("b", 500)})
    asked.jobs = {running: (False, None), waiting: (False, None)}
    live._progress(asked, running)
    assert told.pop() == "Score-CAM\\: 568 of 1,280; 1 more waiting; about 520 passes left, 20 s"
    del paces["b"]
    live._progress(asked, running)
    assert told.pop().endswith("about 520 passes left")
