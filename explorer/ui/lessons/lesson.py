"""What a lesson is, and the scene in which it is drawn: one picture, one network, one class."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from explorer.compute import Explanation, Request
from explorer.declaration import Paper
from explorer.images import Picture
from explorer.methods import Attribution, UndefinedMethodError
from explorer.render.overlay import jpeg, overlay
from explorer.ui import canvas
from explorer.ui.board import Board, Row
from explorer.ui.cells import map_cell, picture_cell, plain
from explorer.ui.maps import SIDE, percent, seen_crop
from explorer.ui.sidebar import Choice
from explorer.ui.state import service, waiter
from explorer.walk import Walk, enlarged

T = TypeVar("T")


@dataclass(frozen=True)
class Scene:
    """What a lesson draws with.

    Args:
        choice: of the sidebar, with the methods of the lesson.
        control: where the one control goes.
        numbers: below the formula, for the numbers that it has here.
    """

    board: Board
    row: Row
    choice: Choice
    look: canvas.Look
    control: DeltaGenerator
    numbers: DeltaGenerator

    @property
    def request(self) -> Request:
        return replace(self.choice.request, target=self.row.target)

    @property
    def target(self) -> int:
        """The explained class."""
        return self.row.prediction.top(1)[0] if self.row.target is None else self.row.target

    @property
    def label(self) -> str:
        return self.row.prediction.labels[self.target]

    @property
    def probability(self) -> float:
        """Of the explained class on the picture itself."""
        return float(self.row.prediction.probabilities[self.target])

    def walk(self, walk: Walk[T], request: Request | None = None) -> T | None:
        """The steps, or None and a word on why there are none yet, or none at all."""
        job = self.board.ask(service().walk(self.row.picture, request or self.request, walk, waiter()))
        if isinstance(job.refusal, UndefinedMethodError):
            st.info(plain(str(job.refusal)))
        elif job.result is None and job.error is None:
            st.caption("Taking the steps apart …")
        found: T | None = job.result
        return found

    def explanation(self, place: int = 0) -> Explanation | None:
        """The map of one of the lesson's methods, if it can be used, or None and a word on why not."""
        cell = self.row.cells[place]
        explanation = cell.job.result
        if explanation is not None and explanation.attribution.blank is None:
            return explanation
        map_cell(self.row.picture, replace(cell, former=None), self.choice, self.look)
        return None

    def photograph(self, others: int = 1) -> list[DeltaGenerator]:
        """Draws the photograph in the first of some columns; returns them."""
        columns = st.columns(1 + others)
        with columns[0]:
            st.markdown(f"**{plain(self.label)}**, {percent(self.probability)}")
            picture_cell(self.row.picture, self.row.prediction.box)
        return columns

    def map(self, made: Attribution, title: str, key: str) -> None:
        """A finished map on the photograph, or why it is blank."""
        st.markdown(f"**{title}**")
        if made.blank is not None:
            st.warning(f"**Blank map.** {made.blank}")
            return
        self.saliency(made.saliency, f"{title} for {self.label} on {self.row.picture.name}", key)

    def saliency(self, saliency: Tensor, alt: str, key: str) -> None:
        """A map (H, W) in [0, 1] on the photograph."""
        digest = self.row.picture.digest
        name = f"lesson {digest} {key}"
        box, fill = self.row.prediction.box, (127, 127, 127)
        canvas.map_cell(name, digest, saliency.numpy(), box, None, fill, alt, key=name, view="overlay")

    def overlaid(self, saliency: Tensor, side: int = SIDE) -> bytes:
        """A map (H, W), whatever its range, on what the network sees, as JPEG."""
        return overlaid(self.row.picture, self.row.prediction.box, saliency, side)


def overlaid(picture: Picture, box: canvas.Crop, saliency: Tensor, side: int = SIDE) -> bytes:
    return jpeg(overlay(_crop(picture, box, side), scaled(saliency).numpy(), (0, 0, 1, 1)), side)


def scaled(tensor: Tensor) -> Tensor:
    """A tensor (h, w) enlarged and brought to [0, 1], to be looked at; a constant one is zero."""
    return enlarged(tensor[None], (SIDE, SIDE))[0]


@lru_cache(maxsize=8)
def _crop(picture: Picture, box: canvas.Crop, side: int) -> Picture:
    return seen_crop(picture, box, (side, side))


@dataclass(frozen=True)
class Lesson:
    """A lesson: its texts, and the function that draws it.

    Args:
        text: two or three short sentences.
        formula: in LaTeX; ``symbols`` says in Markdown what stands in it.
        task: one sentence on what to try.
        draw: puts the control into the scene and the live tensors where it is called.
        methods: the names of those whose maps it shows.
    """

    title: str
    text: str
    formula: str
    symbols: str
    task: str
    paper: Paper
    draw: Callable[[Scene], None]
    methods: tuple[str, ...] = ()
