"""The Compare page: pictures against methods."""

import streamlit as st

from explorer.compute import Figures, Job, State
from explorer.ui.board import Board, Row, measure_rest
from explorer.ui.canvas import Look
from explorer.ui.cells import about, calibration_block, map_cell, picture_cell, plain, target_choice
from explorer.ui.live import chosen_row, live
from explorer.ui.sidebar import Choice
from explorer.ui.state import service, waiter
from explorer.ui.strip import Chosen, Strip, best, ordered
from explorer.ui.takeaway import take_away

_COLUMNS = 4


def show(choice: Choice, look: Look) -> None:
    """Draws the page."""

    def wall(board: Board) -> None:
        measured = [_measure(board, row, choice.figures) for row in board.rows]
        complete = [
            _known(jobs) for row, jobs in zip(board.rows, measured, strict=True) if _complete(row, jobs)
        ]
        methods = ordered([method.name for method in choice.methods], complete, choice.figures)
        for row, jobs in zip(board.rows, measured, strict=True):
            _row(row, choice, look, methods, _strips(row, jobs, choice.figures))
        drawn = [row for row in board.rows if row.explanations]
        if drawn:
            st.subheader("Threshold calibration", anchor=False)
            row = chosen_row(drawn, "curves")
            calibration_block(row, look)
            measure_rest(board, row)
        take_away(board, choice, look, methods, measured)

    live(choice, wall)


def _measure(board: Board, row: Row, chosen: Chosen) -> dict[str, Job[Figures]]:
    """By method, the figures of the maps that are there; a blank one is measured as one that keeps nothing."""
    if not chosen.metrics:
        return {}
    return {
        method.name: board.watch(service().figures(row.picture, job.result.request, chosen.metrics, waiter()))
        for method, job, _ in row.cells
        if job.state is State.DONE and job.result
    }


def _known(jobs: dict[str, Job[Figures]]) -> dict[str, Figures]:
    return {name: job.result for name, job in jobs.items() if job.result is not None}


def _complete(row: Row, jobs: dict[str, Job[Figures]]) -> bool:
    """Whether all maps of a picture are made and measured, so that they can be compared."""
    return all(job.settled for _, job, _ in row.cells) and all(job.settled for job in jobs.values())


def _strips(row: Row, jobs: dict[str, Job[Figures]], chosen: Chosen) -> dict[str, Strip]:
    """The figures under each map of a picture."""
    leading = best(_known(jobs), chosen) if _complete(row, jobs) else {}
    return {
        method.name: Strip(chosen, jobs.get(method.name), leading.get(method.name, frozenset()))
        for method, _, _ in row.cells
    }


def _row(row: Row, choice: Choice, look: Look, methods: list[str], strips: dict[str, Strip]) -> None:
    cells = sorted(row.cells, key=lambda cell: methods.index(cell[0].name))
    with st.container(border=True):
        for start in range(0, max(1, len(cells)), _COLUMNS - 1):
            columns = st.columns(min(_COLUMNS, max(3, len(cells) + 1)))
            if start == 0:
                with columns[0]:
                    st.markdown(f"**{plain(row.picture.name)}**")
                    picture_cell(row.picture, row.prediction.box)
                    target_choice(row.picture, row.prediction)
            for column, (method, job, former) in zip(
                columns[1:], cells[start : start + _COLUMNS - 1], strict=False
            ):
                with column:
                    st.markdown(f"**{method.title}**", help=about(method))
                    map_cell(row.picture, job, former, choice, look, strips[method.name])
