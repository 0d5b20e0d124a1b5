"""The Libra lab: how a Libra-CAM map follows from its references, how many it needs, and where to cut it."""

from dataclasses import replace

import streamlit as st

from explorer.compute import Explanation, ReferencesUsed, State
from explorer.methods.libra import LibraCAM
from explorer.ui import preferences
from explorer.ui.board import Board, Row, measure_rest
from explorer.ui.canvas import Look
from explorer.ui.cells import map_cell, picture_cell, target_choice
from explorer.ui.cuts import cuts
from explorer.ui.growth import growth
from explorer.ui.linearity import linearity
from explorer.ui.live import chosen_row, live, nothing_to_show
from explorer.ui.references import references
from explorer.ui.sidebar import Choice
from explorer.ui.strip import Strip
from explorer.ui.versus import versus
from explorer.ui.view import segmented, view

SIZE = "libra-cam.size"
"""The key of the library size, which this page draws itself."""

SECTIONS = {
    "cut": "Where to cut",
    "references": "References",
    "size": "How many references",
    "linear": "Linear approximation",
    "versus": "Side by side",
}
_OF_REFERENCES = ("references", "linear")


def show(choice: Choice, look: Look) -> None:
    """Draws the page for one of the chosen pictures."""
    if not any(isinstance(method, LibraCAM) for method in choice.methods):
        nothing_to_show("The Libra lab shows Libra-CAM at work: add Libra-CAM to the methods in the sidebar.")
        return
    _lab(choice, look, view().turned.total())


@st.fragment
def _lab(outside: Choice, look: Look, turned: int) -> None:
    """The page but for the look bar and the sidebar, which are many times slower to draw than a map.

    Args:
        outside: what the sidebar was drawn with; ``turned`` how many widgets had been replaced by then.
    """
    if view().turned.total() != turned:
        st.rerun()
    choice = _now(outside)

    def lab(board: Board) -> None:
        if not board.rows:
            return
        row = chosen_row(board.rows, "lab")
        explanation = _top(board, row, choice, look)
        if explanation is None or explanation.references is None:
            return
        section = segmented(
            "section",
            "cut",
            SECTIONS,
            label="Look closer",
            format_func=SECTIONS.get,
            required=True,
            help="Each view looks at the same map and the same references.",
        )
        _section(section, board, row, explanation, explanation.references, choice, look)

    live(choice, lab, ahead=choice.methods != outside.methods)
    view().publish()


def _now(outside: Choice) -> Choice:
    """The choice with what is chosen on this page; draws the slider of the library size."""
    methods = list(outside.methods)
    if draw := outside.elsewhere.get(SIZE):
        size = draw()
        methods = [replace(one, size=size) if isinstance(one, LibraCAM) else one for one in methods]
    request = replace(
        outside.request,
        pinned=preferences.preferred("pinned"),
        excluded=preferences.preferred("excluded"),
    )
    return replace(outside, methods=tuple(methods), request=request)


def _top(board: Board, row: Row, choice: Choice, look: Look) -> Explanation | None:
    """The picture, the map with its figures, and how many references made it."""
    cell = next(cell for cell in row.cells if isinstance(cell.method, LibraCAM))
    job, explanation = cell.job, cell.explanation
    figures = None
    if job.state is State.DONE and job.result and choice.figures.metrics:
        figures = board.measure(row.picture, job.result.request, choice.figures.metrics)
    left, middle, right = st.columns(3)
    with left:
        st.markdown("**What the network sees**")
        picture_cell(row.picture, row.prediction.box)
        target_choice(row.picture, row.prediction)
    with middle:
        st.markdown("**Libra-CAM**")
        map_cell(row.picture, cell, choice, look, Strip(choice.figures, figures, frozenset()))
    with right:
        if explanation is not None and explanation.references is not None:
            _counts(board, row, explanation.references)
        preferences.report()
    return explanation


def _counts(board: Board, row: Row, used: ReferencesUsed) -> None:
    kept = int(used.kept.sum())
    st.markdown(f"**{kept} of {len(used.kept)} references kept** ({used.available} available)")
    st.markdown(
        "Libra-CAM compares the picture with references: pictures of other classes. Each gives a base map of what the "
        "picture has and the reference has not. The base maps that help the class are kept, and their mean is the map."
    )
    left_over = measure_rest(board, row)
    st.caption(
        f"Measuring {left_over} other references in the background."
        if left_over
        else "All references are measured: the library size changes the map at once."
    )


def _section(
    section: str,
    board: Board,
    row: Row,
    explanation: Explanation,
    used: ReferencesUsed,
    choice: Choice,
    look: Look,
) -> None:
    if explanation.attribution.blank is not None and section not in _OF_REFERENCES:
        st.info(
            "The map is blank, so there is nothing to cut or to compare; its references are still there to look at."
        )
    elif section == "cut":
        cuts(board, row, look)
    elif section == "references":
        references(board, row, explanation, used)
    elif section == "size":
        growth(board, row, explanation)
    elif section == "linear":
        linearity(board, row, explanation, used)
    else:
        versus(board, row, explanation, choice.figures, look)
