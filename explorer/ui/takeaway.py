"""What is on the wall to take away: a bundle and a figure for print."""

from collections.abc import Mapping, Sequence

import streamlit as st

from explorer.bundle import Hung, Line, Packed, Wall, pack
from explorer.compute import Explanation, Figures, Job, State, UnknownClassError
from explorer.methods import UndefinedMethodError
from explorer.render.publication import FORMATS, Layout
from explorer.ui.board import Board, Row
from explorer.ui.canvas import Look
from explorer.ui.cells import fault, plain
from explorer.ui.press import pressed
from explorer.ui.sidebar import Choice
from explorer.ui.state import service, taken, waiter
from explorer.ui.view import bound, counted, number, segmented, some_of

_INCH = 2.54  # centimetres
_UNITS = {"cm": _INCH, "in": 1.0}
_PARTS = {"photograph": "Photograph", "classes": "Class", "bar": "Colour bar"}
_KINDS = {
    "png": ("image/png", "The figure in pixels, for slides and the web."),
    "svg": (
        "image/svg+xml",
        "The figure with letters and lines as curves, to be edited in a drawing program.",
    ),
    "pdf": ("application/pdf", "The figure for a paper, with letters that can be searched."),
}
_NAMED = 6

Measured = Sequence[Mapping[str, Job[Figures]]]


def take_away(board: Board, choice: Choice, look: Look, order: Sequence[str], measured: Measured) -> None:
    """Draws the section.

    Args:
        order: of the columns on the wall, by name.
        measured: for each row of the board, the figures by column.
    """
    with st.expander("Take away", icon=":material/download:", key="take away"):
        st.caption(
            "A ZIP file with the photographs, every map, also signed and drawn in the chosen view, a figure for print, "
            "tables, references (BibTeX) and a manifest. The command in its README makes the same maps again."
        )
        wall = Wall(
            tuple(
                _line(row, jobs, order)
                for row, jobs in zip(board.rows, measured, strict=True)
                if any(cell.job.result is not None for cell in row.cells)
            ),
            choice.figures.metrics,
            _layout(look),
            tuple(_missing(board, choice, measured)),
        )
        asked = pressed(
            "Make the bundle",
            type="primary",
            disabled=not wall.rows,
            help="Holds what is on the wall when you press; nothing is computed again.",
        )
        if asked and wall.rows:
            st.session_state["taken"] = _key(wall.identity)
            job = service().encode(_key(wall.identity), lambda job: pack(wall, job), waiter())
            if job.error is not None:
                service().retry(job)
                service().encode(_key(wall.identity), lambda job: pack(wall, job), waiter())
        if wall.missing:
            more = len(wall.missing) - _NAMED
            named = "; ".join(wall.missing[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
            st.info(plain(f"Not ready yet, and left out of what is made now: {named}."))
        _result(board, wall)
        st.caption(plain(_restored(choice)))


def _result(board: Board, wall: Wall) -> None:
    """What was made last, for download."""
    job: Job[Packed] | None = taken()
    if job is None:
        if "taken" in st.session_state:
            st.info("The bundle that was made is no longer held on the server: make it again.")
        return
    board.ask(job)
    if job.error is not None:
        fault(job)
    if job.result is None:
        return
    if st.session_state["taken"] != _key(wall.identity):
        st.caption(
            "The wall or the figure's settings have changed since: make the bundle again to have them."
        )
    with st.container(horizontal=True):
        packed = job.result
        st.download_button(
            f"Bundle ({len(packed.archive) / 2**20:.1f} MB)",
            lambda: packed.archive,
            "cam-explorer.zip",
            "application/zip",
            key="take bundle",
            on_click="ignore",
            help="The ZIP file with everything.",
        )
        for kind in FORMATS:
            st.download_button(
                f"Figure ({kind.upper()})",
                packed.figure[kind],
                f"cam-explorer.{kind}",
                _KINDS[kind][0],
                key=f"take {kind}",
                on_click="ignore",
                help=_KINDS[kind][1],
            )
    st.image(packed.preview, caption="The figure", width="stretch", alt="Pictures against methods")


def _key(identity: str) -> tuple[str, str]:
    return ("bundle", identity)


def _layout(look: Look) -> Layout:
    """The figure's settings."""
    columns = st.columns([1, 1, 1, 2])
    with columns[1]:
        unit = segmented(
            "print.unit",
            "cm",
            _UNITS,
            label="Unit",
            help="Of the figure's width: centimetres or inches.",
        )
    with columns[0]:
        width = bound(
            st.number_input,
            f"print.{unit}",
            17.0 if unit == "cm" else 6.7,
            number(1.0, 60.0),
            label=f"Width of the figure ({unit})",
            min_value=1.0,
            max_value=60.0,
            step=0.5,
            help="A column of a journal is about 8.5 cm wide, a page about 17 cm; the height follows.",
        )
    with columns[2]:
        dpi = counted(
            st.number_input,
            "print.dpi",
            300,
            72,
            600,
            label="Dots per inch",
            step=1,
            help="Of the PNG, and of the pictures inside SVG and PDF; journals ask for 300.",
        )
    with columns[3]:
        parts = bound(
            st.pills,
            "print.parts",
            list(_PARTS),
            some_of(_PARTS),
            ",".join,
            label="Shown beside the maps",
            options=list(_PARTS),
            format_func=_PARTS.__getitem__,
            selection_mode="multi",
            help="The photograph without a map, the explained class, and what the colours mean.",
        )
    if look.view == "wipe":
        st.caption("The figure and the bundle's pictures show a wipe as an overlay.")
    return Layout(
        **vars(look.style),
        width=width / _UNITS[unit],
        dpi=dpi,
        photograph="photograph" in parts,
        classes="classes" in parts,
        bar="bar" in parts,
    )


def _line(row: Row, jobs: Mapping[str, Job[Figures]], order: Sequence[str]) -> Line:
    """The maps of a row that are made, in the order of the wall; an earlier result that stands in is none."""
    cells = sorted(row.cells, key=lambda cell: order.index(cell.name))
    return Line(
        row.picture,
        row.title,
        tuple(
            Hung(cell.title, cell.job.result, jobs[cell.name].result if cell.name in jobs else None)
            for cell in cells
            if cell.job.result is not None
        ),
    )


def _missing(board: Board, choice: Choice, measured: Measured) -> list[str]:
    """What is chosen and not there yet, a phrase each; a map that is not defined here is not to come."""
    found = ["pictures that are being read"] if board.reading else []
    for row, jobs in zip(board.rows, measured, strict=True):
        for cell in row.cells:
            if isinstance(cell.job.refusal, UndefinedMethodError | UnknownClassError):
                continue
            what = _lacking(cell.job, jobs.get(cell.name), bool(choice.figures.metrics))
            if what:
                title = f"{row.title}, {cell.title}" if row.title else cell.title
                found.append(f"{what} of {title} on {row.picture.name}")
    return found


def _lacking(job: Job[Explanation], figures: Job[Figures] | None, measured: bool) -> str:
    explanation = job.result
    if explanation is None:
        return "the map"
    lacking = []
    if job.state is not State.DONE and explanation.attribution.blank is None:
        lacking.append("the calibration")
    if measured and (figures is None or figures.result is None):
        lacking.append("the figures")
    return " and ".join(lacking)


def _restored(choice: Choice) -> str:
    """Which links restore what."""
    text = "The address in the browser restores the network, the methods and all settings"
    if choice.samples:
        text += f", and the samples ({', '.join(name.capitalize() for name in choice.samples)})"
    if choice.uploads:
        names = ", ".join(upload.name for upload in choice.uploads)
        text += f"; your uploads ({names}) only while this server has room for them"
    return text + "."
