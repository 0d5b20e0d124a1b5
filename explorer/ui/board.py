"""What a page waits for: every chosen picture with its prediction and its explanations, asked for as jobs."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st

from explorer.backbones import Layer
from explorer.compute import Explanation, Job, Prediction, State
from explorer.images import SAMPLES, Picture
from explorer.methods import Method
from explorer.methods.libra import LibraCAM
from explorer.ui.sidebar import Choice
from explorer.ui.state import service, waiter
from explorer.ui.view import view, whole

_PATIENCE = 0.12
PREDICTED = -1


@dataclass(frozen=True)
class Row:
    """A picture with what is known of it so far; ``target`` is the class to explain, None for the predicted one."""

    picture: Picture
    prediction: Prediction
    target: int | None
    cells: tuple[tuple[Method, Job[Explanation], Explanation | None], ...]

    @property
    def explanations(self) -> list[Explanation]:
        """The usable maps that are there, calibrated or not."""
        found = [job.result or former for _, job, former in self.cells]
        return [explanation for explanation in found if explanation and explanation.attribution.blank is None]


@dataclass
class Board:
    """All rows that can be drawn, and the jobs behind them, each as it was when it was looked at.

    ``passes`` is about how many forward passes of ``backbone`` an explanation takes.
    """

    rows: list[Row] = field(default_factory=list)
    jobs: dict[Job[Any], tuple[bool, Any]] = field(default_factory=dict)
    passes: dict[Job[Any], int] = field(default_factory=dict)
    backbone: str = ""
    deadline: float = field(default_factory=lambda: time.monotonic() + _PATIENCE)

    def ask(self, job: Job[Any]) -> Job[Any]:
        """Takes a job in, and gives it a moment if there is one left."""
        job.wait_for_result(max(0.0, self.deadline - time.monotonic()))
        return self.watch(job)

    def watch(self, job: Job[Any]) -> Job[Any]:
        """Takes a job in as it is."""
        self.jobs[job] = (job.settled, job.result)
        return job

    @property
    def pending(self) -> bool:
        """Whether anything was not settled when it was looked at."""
        return any(not settled for settled, _ in self.jobs.values())

    @property
    def outdated(self) -> bool:
        """Whether any job has come further than what is drawn of it."""
        return any(
            job.settled != settled or job.result is not result for job, (settled, result) in self.jobs.items()
        )

    @property
    def passes_left(self) -> int:
        """About how many forward passes the maps still take that are asked for."""
        return sum(count for job, count in self.passes.items() if not job.settled)

    @property
    def running(self) -> Job[Any] | None:
        """The job to report on: the one that runs, else the first that waits."""
        unsettled = [job for job in self.jobs if not job.settled]
        return next((job for job in unsettled if job.state is State.RUNNING), next(iter(unsettled), None))


def ask(choice: Choice) -> Board:
    """Asks for everything that the choice needs, and waits a moment, so that quick work needs no poll."""
    board = Board(backbone=choice.request.backbone)
    layers = board.ask(choice.layers())
    pictures: dict[str, Picture] = {}
    for job in map(board.ask, choice.pictures()):
        if job.result is not None:
            pictures.setdefault(job.result.digest, job.result)
    if layers.result is None:
        return board
    if choice.undefined is not None:
        board.watch(choice.undefined)
    backbone = choice.request.backbone
    asked = [service().prediction(picture, backbone, waiter()) for picture in pictures.values()]
    predictions = [board.ask(job) for job in asked]
    for picture, job in zip(pictures.values(), predictions, strict=True):
        if job.result is not None:
            layer = next(
                (one for one in layers.result if one.name == choice.request.layer), layers.result[-1]
            )
            board.rows.append(_ask_row(board, picture, job.result, choice, layer))
    return board


def picture_key(kind: str, picture: Picture) -> str:
    """The key in the view of something chosen for one picture: a sample by its name, so that a link can restore it."""
    return f"{kind}.{picture.name if picture.name in SAMPLES else picture.digest[:12]}"


def target_key(picture: Picture) -> str:
    """The key of a picture's class in the view."""
    return picture_key("class", picture)


def measure_rest(board: Board, row: Row) -> int:
    """Measures the references of a Libra-CAM map that are not in use, behind all other work, so that the library
    size can change at once. Returns how many are left."""
    for method, job, _ in row.cells:
        if isinstance(method, LibraCAM) and job.state is State.DONE and job.result and job.result.references:
            used = job.result.references
            rest = board.watch(service().measurement(row.picture, job.result.request, waiter()))
            return 0 if rest.state is State.DONE else used.available - used.measured
    return 0


def _ask_row(board: Board, picture: Picture, prediction: Prediction, choice: Choice, layer: Layer) -> Row:
    key = target_key(picture)
    kept = view().seed(key, PREDICTED, whole(0, len(prediction.labels) - 1))
    # The widget is drawn after this; what it has just been set to is known already.
    target = st.session_state.get(f"widget {key}", kept)
    wanted = None if target == PREDICTED else target
    former: dict[tuple[str, str], Any] = st.session_state.setdefault("former", {})
    cells = []
    for method in choice.methods:
        request = replace(choice.request, method=method, target=wanted)
        if not method.needs_references():
            request = replace(request, pinned=(), excluded=())
        job = board.ask(service().explanation(picture, request, waiter()))
        board.passes[job] = method.passes(layer) + len(request.levels)
        cell = (picture.digest, method.name)
        last = service().remembered(picture, former[cell]) if cell in former else None
        if job.state is State.DONE:
            former[cell] = request
        cells.append((method, job, last))
    return Row(picture, prediction, wanted, tuple(cells))
