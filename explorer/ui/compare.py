"""The Compare page: pictures against methods."""

import streamlit as st

from explorer.ui.board import Board, Row, measure_rest
from explorer.ui.canvas import Look
from explorer.ui.cells import about, calibration_block, map_cell, picture_cell, plain, target_choice
from explorer.ui.live import chosen_row, live
from explorer.ui.sidebar import Choice

_COLUMNS = 4


def show(choice: Choice, look: Look) -> None:
    """Draws the page."""

    def wall(board: Board) -> None:
        for row in board.rows:
            _row(row, look)
        drawn = [row for row in board.rows if row.explanations]
        if drawn:
            st.subheader("Threshold calibration", anchor=False)
            row = chosen_row(drawn, "curves")
            calibration_block(row, look)
            measure_rest(board, row)

    live(choice, wall)


def _row(row: Row, look: Look) -> None:
    with st.container(border=True):
        for start in range(0, max(1, len(row.cells)), _COLUMNS - 1):
            columns = st.columns(min(_COLUMNS, max(3, len(row.cells) + 1)))
            if start == 0:
                with columns[0]:
                    st.markdown(f"**{plain(row.picture.name)}**")
                    picture_cell(row.picture, row.prediction.box)
                    target_choice(row.picture, row.prediction)
            for column, (method, job, former) in zip(
                columns[1:], row.cells[start : start + _COLUMNS - 1], strict=False
            ):
                with column:
                    st.markdown(f"**{method.title}**", help=about(method))
                    map_cell(row.picture, job, former, look)
