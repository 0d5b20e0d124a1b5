"""A page that is drawn at once with what is there, and again as results come."""

import time
from collections.abc import Callable, Set
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.backbones import layer_called
from explorer.compute import Job, State
from explorer.methods import UndefinedMethodError
from explorer.ui.board import READING, Board, Hanging, Row, ask
from explorer.ui.cells import fault, plain
from explorer.ui.press import pressed
from explorer.ui.sidebar import Choice, time_of
from explorer.ui.state import KINDS, lasting, service, stop, stopping, waiter
from explorer.ui.view import segmented, start_anew

_POLL = 0.5  # seconds
_FOLLOWING = (
    "figures",
    "measurement",
    "study",
    "curve",
    "at cut",
    "walk",
)  # jobs about maps, whose cells do not say why


def live(
    choice: Choice,
    draw: Callable[[Board], None],
    *,
    methods: bool = True,
    hanging: Hanging | None = None,
    ahead: bool = False,
) -> None:
    """Asks for what the choice needs and draws what is there; draws all again whenever more has come.

    Only the line that says what is going on is drawn at every poll.

    Args:
        methods: whether any has to be chosen.
        hanging: the methods side by side, unless something else is said.
        ahead: as in ``follow``.
    """
    board = ask(choice, hanging or Hanging())
    if not choice.complete and choice.layers().result is not None:
        st.rerun()
    report(board, choice, methods=methods)
    line = status_line()
    draw(board)
    failed = [job for job in board.jobs if job.error and job.key[0] in _FOLLOWING]
    if faults := [job for job in failed if not isinstance(job.refusal, UndefinedMethodError)]:
        fault(faults[0])
    varied = hanging is not None and bool(hanging.columns)
    follow(board, line, lambda: _made_with(choice, varied=varied), ahead=ahead)


def nothing_to_show(reason: str) -> None:
    """Draws a page that lacks something, and keeps wanted what goes on meanwhile."""
    st.info(reason)
    follow(Board(), status_line())


def status_line() -> DeltaGenerator:
    """The place of what ``follow`` says, of one height so that nothing below it jumps."""
    return st.container(height=64, border=False)


def follow(
    board: Board, line: DeltaGenerator, at_rest: Callable[[], None] = lambda: None, *, ahead: bool = False
) -> None:
    """Keeps what the page waits for wanted, and what goes on meanwhile; says in a line what is being
    made, and draws all again whenever more has come.

    Args:
        at_rest: draws the line when nothing is being made.
        ahead: whether what stands outside the fragment that draws this is still drawn with an earlier choice.
    """
    service().retain(waiter(), set(board.jobs) - stopping())

    drawn = time.monotonic()

    def poll() -> None:
        # Not at once: a run that starts before this one is sent would hold back what this one drew.
        if time.monotonic() - drawn > _POLL / 2 and (ahead or board.outdated):
            st.rerun()
        wanted = set(board.jobs) - stopping()
        service().retain(waiter(), wanted)
        stopped = any(job.state is State.STOPPED for job in wanted)
        with st.container(horizontal=True, vertical_alignment="center"):
            if board.running is not None:
                _progress(board, board.running)
            elif stopped:
                st.caption("Stopped: the rest is not made.")
            else:
                at_rest()
            _stop_and_go_on(wanted, stopped=stopped)

    with line:
        (st.fragment(poll, run_every=_POLL) if ahead or board.pending else poll)()


def _stop_and_go_on(jobs: Set[Job[Any]], *, stopped: bool) -> None:
    """The button that gives up what the page waits for, or that resumes it."""
    if waited := {job for job in jobs if not job.settled} - set(map(lasting, KINDS)):
        help = "Gives up what is not made yet; what is made stays, and you can go on later."
        if pressed("Stop", help=help):
            stop(waited)
            st.rerun()
    elif stopped and pressed("Go on", help="Makes what was given up."):
        service().go_on(waiter())
        st.rerun()


def chosen_row(rows: list[Row], key: str) -> Row:
    """The first row of the picture that the visitor picks, where there are several."""
    names: dict[str, Row] = {}
    for row in rows:
        names.setdefault(row.picture.digest[:12], row)
    if len(names) == 1:
        return rows[0]
    picked = segmented(
        key,
        next(iter(names)),
        names,
        label="Picture",
        format_func=lambda name: plain(names[name].picture.name),
        help="Which of the chosen pictures this part of the page looks at.",
    )
    return names.get(picked, rows[0])


def report(board: Board, choice: Choice, *, pictures: bool = True, methods: bool = True) -> None:
    """What is wrong or missing, above the results.

    Args:
        pictures, methods: whether those of the sidebar are needed.
    """
    for job in board.jobs:
        if job.error is not None and job.key[0] in (*READING, "pictures"):
            fault(job)
    wanting = {}
    if pictures and not choice.samples and not choice.uploads:
        wanting["samples"] = "Choose a sample or upload a photograph in the sidebar."
    if methods and not choice.methods:
        wanting["methods"] = (
            "Choose at least one method in the sidebar to see where it says the network looked."
        )
    if wanting:
        st.info("  \n".join(wanting.values()))
        st.button(
            "Choose for me", on_click=_begin_again, args=tuple(wanting), help="What Compare opens with."
        )


def _begin_again(*keys: str) -> None:
    for key in keys:
        start_anew(key)


def _progress(board: Board, job: Job[Any]) -> None:
    """How far a job is, as high as the line at rest."""
    waiting = sum(not other.settled for other in board.jobs) - 1
    text = job.stage + (f": {job.done:,} of {job.total:,}" if job.total else " …")
    text += f"; {waiting} more waiting" if waiting > 0 else ""
    if left := board.left:
        text += "; " + ", ".join(filter(None, (f"about {left.total():,} passes left", time_of(left))))
    st.progress(min(1.0, job.done / job.total) if job.total else 0.0, text=plain(text))


def _made_with(choice: Choice, *, varied: bool) -> None:
    """What the results were made with; ``varied``: the columns say with which network, layer or class."""
    request, layers = choice.request, choice.layers().result
    if layers:
        layer = layer_called(layers, request.layer)
        parts = [] if varied else [request.backbone, f"layer {layer.name} ({layer.shape})"]
        if any(method.needs_references() for method in choice.methods):
            parts.append(f"{request.library} library")
            parts += [
                f"{len(ids)} {kind}" for kind in ("pinned", "excluded") if (ids := getattr(request, kind))
            ]
        parts.append(f"{len(request.levels)} calibration levels")
        if request.precision != "float32":
            parts.append(f"reduced precision, not exact ({request.precision})")
        st.caption(plain(" · ".join(parts)))
