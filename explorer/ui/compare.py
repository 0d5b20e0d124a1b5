"""The Compare page: pictures against methods."""

import streamlit as st

from explorer.ui.board import Board, Row, ask, measure_rest
from explorer.ui.canvas import Look
from explorer.ui.cells import calibration_block, map_cell, picture_cell, target_choice
from explorer.ui.sidebar import Choice
from explorer.ui.state import service, waiter
from explorer.ui.view import bound, one_of, view

_COLUMNS = 4


def show(choice: Choice, look: Look) -> None:
    """Draws the page; it polls only while something is being made."""
    boards = [ask(choice)]
    polling = boards[0].pending
    st.fragment(_wall, run_every=0.5 if polling else None)(choice, look, polling, boards)


def _wall(choice: Choice, look: Look, polling: bool, asked: list[Board]) -> None:
    """Draws what has been asked for just now, or on a rerun of its own asks again."""
    board = asked.pop() if asked else ask(choice)
    report(board, choice)
    for row in board.rows:
        _row(row, choice, look)
    drawn = [row for row in board.rows if row.explanations]
    if drawn:
        st.subheader("Threshold calibration", anchor=False)
        row = drawn[0]
        if len(drawn) > 1:
            names = {row.picture.digest[:12]: row for row in drawn}
            chosen = bound(
                st.segmented_control,
                "curves",
                next(iter(names)),
                one_of(names),
                label="Picture",
                options=list(names),
                format_func=lambda key: names[key].picture.name,
            )
            row = names.get(chosen, row)
        calibration_block(row, look)
        measure_rest(board, row)
    settle(board, choice, polling)


def report(board: Board, choice: Choice) -> None:
    """What is wrong and what is going on, above the results."""
    for job in board.jobs:
        if job.error is not None and job.key[0] in ("layers", "upload", "sample", "prediction"):
            st.error(job.error)
    if not choice.methods:
        st.info("Choose at least one method in the sidebar to see where it says the network looked.")
    if not choice.samples and not choice.uploads:
        st.info("Choose a sample or upload a photograph in the sidebar.")
    with st.container(height=64, border=False):
        _status(board, choice)


def _status(board: Board, choice: Choice) -> None:
    """What is being made, or what the results were made with; of one height, so that nothing jumps."""
    job = board.running
    if job is not None:
        waiting = sum(not other.settled for other in board.jobs) - 1
        text = job.stage + (f": {job.done} of {job.total}" if job.total else " …")
        text += f"; {waiting} more waiting" if waiting else ""
        st.progress(min(1.0, job.done / job.total) if job.total else 0.0, text=text)
        return
    request, layers = choice.request, choice.layers().result
    if layers:
        layer = next((layer for layer in layers if layer.name == request.layer), layers[-1])
        parts = [request.backbone, f"layer {layer.name} ({layer.shape})"]
        if any(method.needs_references for method in choice.methods):
            parts.append(f"{request.library} library")
        parts.append(f"{len(request.levels)} calibration levels")
        if request.precision != "float32":
            parts.append(f"quick, not exact ({request.precision})")
        st.caption(" · ".join(parts))


def settle(board: Board, choice: Choice, polling: bool) -> None:
    """Lets go of what is no longer shown, keeps the URL true, and starts or stops the polling."""
    service().retain(waiter(), set(board.jobs))
    view().publish()
    layers_came = not choice.complete and choice.layers().result is not None
    if board.pending != polling or layers_came:
        st.rerun()


def _row(row: Row, choice: Choice, look: Look) -> None:
    with st.container(border=True):
        for start in range(0, max(1, len(row.cells)), _COLUMNS - 1):
            columns = st.columns(min(_COLUMNS, max(3, len(row.cells) + 1)))
            if start == 0:
                with columns[0]:
                    st.markdown(f"**{_escaped(row.picture.name)}**")
                    picture_cell(row.picture, row.prediction.box)
                    target_choice(row.picture, row.prediction)
            for column, (method, job, former) in zip(
                columns[1:], row.cells[start : start + _COLUMNS - 1], strict=False
            ):
                with column:
                    st.markdown(f"**{method.title}**", help=method.summary)
                    map_cell(row.picture, job, former, look)


def _escaped(name: str) -> str:
    """A file name as plain text in Markdown."""
    return "".join(
        f"\\{character}" if character in r"\`*_{}[]()#+-.!|<>:$~" else character for character in name
    )
