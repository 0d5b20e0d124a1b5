"""What a page waits for: every chosen picture with its prediction and its explanations, asked for as jobs."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st

from explorer.compute import Explanation, Figures, Job, Prediction, Request, State
from explorer.images import Picture
from explorer.methods import Method
from explorer.methods.libra import LibraCAM
from explorer.metrics import Metric
from explorer.ui.columns import Column, of_methods, with_method
from explorer.ui.sidebar import Choice, passes
from explorer.ui.state import begun, service, waiter
from explorer.ui.view import known, picture_key, whole
from explorer.ui.what_if import changed

_PATIENCE = 0.12
READING = ("layers", "sample", "upload", "prediction")
"""The kinds of jobs without which a picture has no row."""
PREDICTED = -1


@dataclass(frozen=True)
class Cell:
    """A map of the wall and the last one in its place; ``name``, ``title`` and ``detail`` are its column's."""

    name: str
    title: str
    detail: str | None
    request: Request
    job: Job[Explanation]
    former: Explanation | None

    @property
    def method(self) -> Method:
        return self.request.method

    @property
    def place(self) -> str:
        """What tells it from the other maps of its method on its picture; nothing where the columns are methods."""
        return "" if self.name == self.method.name else self.name

    @property
    def explanation(self) -> Explanation | None:
        """The map, calibrated or not, or the former one."""
        return self.job.result or self.former

    @property
    def usable(self) -> Explanation | None:
        """The same, unless it is blank."""
        made = self.explanation
        return made if made and made.attribution.blank is None else None


@dataclass(frozen=True)
class Row:
    """A picture with what is known of it so far; ``target`` is the class to explain, None for the predicted one.

    Args:
        title: the method of all its cells, where the columns are something else.
        shown: whether it is on the page of the wall that is looked at.
        before: what was said of the picture before a part of it was changed, if it was.
    """

    picture: Picture
    prediction: Prediction
    target: int | None
    cells: tuple[Cell, ...]
    title: str = ""
    shown: bool = True
    before: Prediction | None = None

    @property
    def explanations(self) -> list[Explanation]:
        """The usable maps."""
        return [cell.usable for cell in self.cells if cell.usable]


def titled(rows: Sequence[Row]) -> dict[str, Cell]:
    """The cells of the rows of one picture, by what tells them apart."""
    several = len(rows) > 1
    return {
        f"{row.title}, {cell.title}" if several else cell.title: cell for row in rows for cell in row.cells
    }


@dataclass
class Board:
    """All rows that can be drawn, and the jobs behind them and those that the session has begun, each as it was when it
    was first looked at: what was drawn of it may be as old as that.

    ``takes`` says of which network a job takes forward passes, and about how many with the figures that follow on it;
    ``unseen`` are the jobs of what is not drawn.
    """

    rows: list[Row] = field(default_factory=list)
    jobs: dict[Job[Any], tuple[bool, Any]] = field(default_factory=dict)
    unseen: set[Job[Any]] = field(default_factory=set)
    takes: dict[Job[Any], tuple[str, int]] = field(default_factory=dict)
    deadline: float = field(default_factory=lambda: time.monotonic() + _PATIENCE)

    def __post_init__(self) -> None:
        self.jobs |= {job: (job.settled, job.result) for job in begun()}

    @property
    def shown(self) -> list[Row]:
        return [row for row in self.rows if row.shown]

    def ask(self, job: Job[Any]) -> Job[Any]:
        """Takes a job in, and gives it a moment if there is one left."""
        job.wait_for_result(max(0.0, self.deadline - time.monotonic()))
        return self.watch(job)

    def watch(self, job: Job[Any], *, seen: bool = True) -> Job[Any]:
        """Takes a job in as it is, if it was not before.

        One that has been cancelled by now was given up because this run came too late: it is still to be made.
        """
        if not seen and job not in self.jobs:
            self.unseen.add(job)
        elif seen:
            self.unseen.discard(job)
        self.jobs.setdefault(job, (job.settled and job.state is not State.CANCELLED, job.result))
        return job

    @property
    def pending(self) -> bool:
        """Whether anything was not settled when it was looked at."""
        return any(not settled for settled, _ in self.jobs.values())

    @property
    def reading(self) -> bool:
        """Whether a picture may still come to its row."""
        return any(job.key[0] in READING and not job.settled for job in self.jobs)

    @property
    def outdated(self) -> bool:
        """Whether any job that is seen has come further than what is drawn of it, or all have come to their end."""
        further = any(
            job not in self.unseen and (job.settled != settled or job.result is not result)
            for job, (settled, result) in self.jobs.items()
        )
        return further or (self.pending and all(job.settled for job in self.jobs))

    def measure(
        self, picture: Picture, request: Request, metrics: Sequence[Metric], *, seen: bool = True
    ) -> Job[Figures]:
        """Asks for the figures of a map."""
        job = self.watch(service().figures(picture, request, tuple(metrics), waiter()), seen=seen)
        self.takes[job] = request.backbone, service().engine.figure_passes(request, metrics) or 0
        return job

    @property
    def left(self) -> Counter[str]:
        """By network, about how many forward passes the maps and figures still take that are asked for."""
        left = Counter[str]()
        for job, (backbone, count) in self.takes.items():
            if not job.settled:
                left[backbone] += max(0, count - job.passes)
        return +left

    @property
    def running(self) -> Job[Any] | None:
        """The job to report on: the one that runs, else the first that waits."""
        unsettled = [job for job in self.jobs if not job.settled]
        return next((job for job in unsettled if job.state is State.RUNNING), next(iter(unsettled), None))


@dataclass(frozen=True)
class Page:
    """Which pictures of the wall are drawn: so many, from the one of this number, counted from 0, on."""

    first: int
    pictures: int

    def __contains__(self, position: int) -> bool:
        return self.first <= position < self.first + self.pictures


@dataclass(frozen=True)
class Hanging:
    """What hangs on the wall.

    Args:
        columns: none stands for the methods; a job, what has to be done before they are known.
        page: what is drawn; the rest is asked for after that.
        changes: whether pictures that the visitor has changed a part of hang below them.
        metrics: what the maps are measured by once they are there.
    """

    columns: Sequence[Column] | Job[Any] = ()
    page: Page = Page(0, 10_000)
    changes: bool = False
    metrics: tuple[Metric, ...] = ()


def ask(choice: Choice, hanging: Hanging) -> Board:
    """Asks for everything that the choice needs, and waits a moment, so that quick work needs no poll."""
    board = Board()
    layers = board.ask(choice.layers())
    places: dict[str, tuple[int, Picture]] = {}
    for position, job in enumerate(map(board.ask, choice.pictures())):
        if job.result is not None:
            places.setdefault(job.result.digest, (position, job.result))
    if isinstance(hanging.columns, Job):
        board.watch(hanging.columns)
        return board
    if layers.result is None:
        return board
    if choice.undefined is not None:
        board.watch(choice.undefined)
    backbone = choice.request.backbone
    asked = [service().prediction(picture, backbone, waiter()) for _, picture in places.values()]
    predictions = [board.ask(job) for job in asked]
    found = [
        (position, picture, job.result)
        for (position, picture), job in zip(places.values(), predictions, strict=True)
        if job.result is not None
    ]
    rows: dict[int, list[Row]] = {}
    for position, picture, prediction in sorted(found, key=lambda one: one[0] not in hanging.page):
        wall = _Wall(
            board, choice, hanging.columns, hanging.metrics, position in hanging.page, hanging.changes
        )
        rows[position] = wall.of(picture, prediction)
    board.rows = [row for position in sorted(rows) for row in rows[position]]
    return board


def target_key(picture: Picture) -> str:
    """The key of a picture's class in the view."""
    return picture_key("class", picture)


def measure_rest(board: Board, row: Row) -> int:
    """Measures the references of a Libra-CAM map that are not in use, behind all other work, so that the library
    size can change at once. Returns how many are left."""
    for cell in row.cells:
        made = cell.job.result
        if isinstance(cell.method, LibraCAM) and cell.job.state is State.DONE and made and made.references:
            rest = board.watch(service().measurement(row.picture, made.request, waiter()))
            return 0 if rest.state is State.DONE else made.references.available - made.references.measured
    return 0


@dataclass(frozen=True)
class _Wall:
    """Asks for the rows of a picture."""

    board: Board
    choice: Choice
    columns: Sequence[Column]
    metrics: tuple[Metric, ...]
    seen: bool
    changes: bool

    def of(self, picture: Picture, prediction: Prediction) -> list[Row]:
        """The rows of a picture, and of what the visitor has made of it, which explain the same classes."""
        classes = range(len(prediction.labels))
        chosen = known(target_key(picture), PREDICTED, whole(0, classes[-1]))
        target = chosen if chosen in classes else None
        rows = self._rows(picture, prediction, target)
        made = self.board.ask(job) if self.changes and (job := changed(picture)) else None
        if made is not None and made.result is not None:
            now = self.board.ask(service().prediction(made.result, self.choice.request.backbone, waiter()))
            if now.result is not None:
                rows += self._rows(made.result, now.result, target, _Before(picture, prediction))
        return rows

    def _rows(
        self, picture: Picture, prediction: Prediction, target: int | None, before: "_Before | None" = None
    ) -> list[Row]:
        base = replace(self.choice.request, target=target)
        lines = [(method.title, self.columns, with_method(method, base)) for method in self.choice.methods]
        if not self.columns:
            lines = [("", of_methods(self.choice), base)]
        return [
            Row(
                picture,
                prediction,
                target,
                tuple(
                    self._cell(picture, column, self._request(column, request, prediction, before))
                    for column in across
                ),
                title,
                self.seen,
                before.prediction if before else None,
            )
            for title, across, request in lines
        ]

    def _request(
        self, column: Column, request: Request, prediction: Prediction, before: "_Before | None"
    ) -> Request:
        """What a cell asks for; of a changed picture the class that the network of the column sees in the original."""
        wanted = column.change(request, before.prediction if before else prediction)
        if before is None or wanted.target is not None:
            return wanted
        if wanted.backbone == self.choice.request.backbone:
            return replace(wanted, target=before.prediction.top(1)[0])
        there = self.board.ask(service().prediction(before.picture, wanted.backbone, waiter()))
        return replace(wanted, target=there.result.top(1)[0]) if there.result else wanted

    def _cell(self, picture: Picture, column: Column, request: Request) -> Cell:
        former: dict[tuple[str, str, str], Any] = st.session_state.setdefault("former", {})
        job = service().explanation(picture, request, waiter())
        job = self.board.ask(job) if self.seen else self.board.watch(job, seen=False)
        self.board.takes[job] = request.backbone, passes([request], self.metrics).total()
        place = (picture.digest, request.method.name, column.name)
        last = service().remembered(picture, former[place]) if place in former else None
        if job.state is State.DONE:
            former[place] = request
        return Cell(column.name, column.title, column.detail, request, job, last)


@dataclass(frozen=True)
class _Before:
    """A picture before a part of it was changed."""

    picture: Picture
    prediction: Prediction
