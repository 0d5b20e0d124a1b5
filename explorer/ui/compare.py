"""The Compare page: pictures against methods, or each method at several layers, for several classes, in networks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

import streamlit as st

from explorer.compute import Figures, Job, Prediction, State
from explorer.render.scale import Ends, shared_ends
from explorer.ui.board import Board, Cell, Hanging, Page, Row, measure_rest
from explorer.ui.canvas import Look
from explorer.ui.cells import about, calibration_block, map_cell, picture_cell, plain, target_choice
from explorer.ui.columns import Column, beside_the_predicted, columns, with_method
from explorer.ui.live import chosen_row, live
from explorer.ui.sidebar import Choice, passes, price
from explorer.ui.strip import Chosen, Strip, best, ordered
from explorer.ui.takeaway import take_away
from explorer.ui.two import two_maps
from explorer.ui.view import segmented
from explorer.ui.what_if import what_if

_COLUMNS = 4
_WIDE = 6
_MAPS = 36  # on one page of the wall
_ROOM = 560  # pixels; about those of a picture with its maps


def show(choice: Choice, look: Look) -> None:
    """Draws the page."""
    others = columns(choice)
    if isinstance(others, Job):
        live(choice, lambda board: None, hanging=Hanging(others))
        return
    _cost(choice, others)
    page = _page(choice, max(1, _MAPS // max(1, (len(others) or 1) * len(choice.methods))))

    def wall(board: Board) -> None:
        measured = [_measure(board, row, choice.figures) for row in board.rows]
        complete = [
            _known(jobs) for row, jobs in zip(board.rows, measured, strict=True) if _complete(row, jobs)
        ]
        names = [cell.name for cell in board.rows[0].cells] if board.rows else []
        order = ordered(names, complete, choice.figures)
        shown = [(row, jobs) for row, jobs in zip(board.rows, measured, strict=True) if row.shown]
        made = (explanation for row in board.shown for explanation in row.explanations)
        scales = shared_ends(made, signed=look.view == "signed") if look.scale == "shared" else {}
        for _, lines in groupby(shown, lambda one: one[0].picture.digest):
            _picture(list(lines), choice, look, order, scales, others)
        chosen = choice.samples or choice.uploads
        if chosen and not shown and board.reading:
            with st.container(border=True, height=_ROOM):
                st.caption("The picture and its maps come here.")
        drawn = [row for row in board.shown if row.explanations]
        if drawn:
            st.subheader("Threshold calibration", anchor=False)
            row = chosen_row(drawn, "curves")
            rows = [one for one in board.shown if one.picture.digest == row.picture.digest]
            calibration_block(rows, look)
            for one in rows:
                measure_rest(board, one)
            two_maps(rows, look)
        if choice.methods and chosen:
            take_away(board, choice, look, order, measured)

    live(choice, wall, hanging=Hanging(others, page, changes=True, metrics=choice.figures.metrics))


def _cost(choice: Choice, others: Sequence[Column]) -> None:
    """What the whole wall takes, where it is more than a map of each method, which the sidebar says."""
    pictures = len(choice.samples) + len(choice.uploads)
    if not choice.layers().result or not choice.methods or pictures * (len(others) or 1) < 2:
        return
    lines = [with_method(method, choice.request) for method in choice.methods]
    asked = [column.change(line, None) for line in lines for column in others] or lines
    once = passes(asked, choice.figures.metrics)
    needed = Counter({name: pictures * count for name, count in once.items()})
    text = f"{len(asked) * pictures} maps{' and their figures' if choice.figures.metrics else ''}"
    text += f", about {price(needed, ' forward passes')}"
    if new := {request.backbone for request in asked} - needed.keys():
        text += f", and those of {' and '.join(sorted(new))}, counted once it is loaded"
    st.caption(plain(f"{text}."))


def _page(choice: Choice, pictures: int) -> Page:
    """Draws which pictures are on the page, at most so many, where not all are."""
    count = len(choice.samples) + len(choice.uploads)
    ranges = {
        str(number): f"{first + 1}–{min(first + pictures, count)}"
        for number, first in enumerate(range(0, max(1, count), pictures), 1)
    }
    if len(ranges) == 1:
        return Page(0, pictures)
    number = segmented(
        "page",
        "1",
        ranges,
        label=f"Pictures, of {count}",
        format_func=ranges.get,
        required=True,
        help="The maps of all pictures are made; the wall shows a page of them at a time.",
    )
    return Page(pictures * (int(number) - 1), pictures)


def _measure(board: Board, row: Row, chosen: Chosen) -> dict[str, Job[Figures]]:
    """By column, the figures of the maps that are there; a blank one is measured as one that keeps nothing."""
    if not chosen.metrics:
        return {}
    return {
        cell.name: board.measure(row.picture, cell.job.result.request, chosen.metrics, seen=row.shown)
        for cell in row.cells
        if cell.job.state is State.DONE and cell.job.result
    }


def _known(jobs: dict[str, Job[Figures]]) -> dict[str, Figures]:
    return {name: job.result for name, job in jobs.items() if job.result is not None}


def _complete(row: Row, jobs: dict[str, Job[Figures]]) -> bool:
    """Whether all maps of a row are made and measured, so that they can be compared."""
    return all(cell.job.settled for cell in row.cells) and all(job.settled for job in jobs.values())


def _picture(
    lines: list[tuple[Row, dict[str, Job[Figures]]]],
    choice: Choice,
    look: Look,
    order: list[str],
    scales: Mapping[str, Ends],
    others: Sequence[Column],
) -> None:
    """A picture with its rows of maps; its class can be chosen unless each of the columns says one."""
    with st.container(border=True):
        for position, (row, jobs) in enumerate(lines):
            leading = best(_known(jobs), choice.figures) if _complete(row, jobs) else {}
            cells = sorted(row.cells, key=lambda cell: order.index(cell.name))
            if row.title and cells:
                st.markdown(f"**{row.title}**", help=about(cells[0].method))
            across = _WIDE if row.title else _COLUMNS
            for start in range(0, max(1, len(cells)), across - 1):
                places = st.columns(min(across, max(3, len(cells) + 1)))
                if position == start == 0:
                    with places[0]:
                        _photograph(row, choice, others)
                for place, cell in zip(places[1:], cells[start : start + across - 1], strict=False):
                    strip = Strip(choice.figures, jobs.get(cell.name), leading.get(cell.name, frozenset()))
                    with place:
                        _cell(row, cell, choice, look, strip, scales)


def _photograph(row: Row, choice: Choice, others: Sequence[Column]) -> None:
    st.markdown(f"**{plain(row.picture.name)}**")
    picture_cell(row.picture, row.prediction.box)
    if row.before is not None:
        explained = row.before.top(1)[0] if row.target is None else row.target
        st.markdown(_outcome(row.before, row.prediction, explained))
        return
    classwise = [one.classwise for one in others]
    if not all(classwise) or not others:
        expected = target_choice(row.picture, row.prediction)
        if expected not in (None, row.prediction.top(1)[0]) and not any(classwise):
            st.button(
                "Beside the predicted class",
                key=f"beside {row.picture.digest}",
                on_click=beside_the_predicted,
                args=(choice.request.backbone,),
                help="Shows of every method the map for the predicted class and that for the class chosen here.",
            )
    what_if(row.picture, row.prediction.box)


def _outcome(before: Prediction, now: Prediction, target: int) -> str:
    """What became of the explained class, in Markdown."""
    one, other = (float(prediction.probabilities[target]) for prediction in (before, now))
    colour = "green" if other > one else "red" if other < one else "gray"
    text = f"{plain(now.labels[target])}: {one:.1%} → **{other:.1%}** :{colour}[{other - one:+.1%}]"
    first = now.top(1)[0]
    if first != target:
        text += f"  \nNow predicted: {plain(now.labels[first])} ({float(now.probabilities[first]):.1%})"
    return text


def _cell(row: Row, cell: Cell, choice: Choice, look: Look, strip: Strip, scales: Mapping[str, Ends]) -> None:
    if row.title:
        st.markdown(f"**{plain(cell.title)}**")
        made = cell.explanation
        st.caption(plain(cell.detail or (f"{made.label}, {made.probability:.1%}" if made else "…")))
    else:
        st.markdown(f"**{cell.title}**", help=about(cell.method))
    map_cell(row.picture, cell, choice, look, strip, scales)
