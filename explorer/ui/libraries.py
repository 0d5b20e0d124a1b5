"""The Libraries page: what is built, what it is like, and what can be done with it."""

import html
import io
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from explorer.compute import FOLLOWING, Engine, Job
from explorer.errors import ExplorerError
from explorer.library import (
    LibraryInfo,
    Plane,
    Tally,
    Unfinished,
    budget,
    check,
    common,
    delete,
    discard,
    export,
    forget,
    installed,
    opened,
    plane,
    tally,
    unfinished,
    unreadable,
)
from explorer.render.overlay import contact_sheet
from explorer.ui.board import Board
from explorer.ui.building import LARGEST, build_form, import_form, key_of
from explorer.ui.cells import plain
from explorer.ui.lasting import busy, just_made
from explorer.ui.live import follow, report, status_line
from explorer.ui.plane import COLUMNS, SIDE, plane_chart
from explorer.ui.sidebar import Choice
from explorer.ui.state import service, waiter
from explorer.ui.view import selected, turn

_NONE = "none"
_STYLE = """
<style>
.cam-libraries { overflow-x: auto; }
.cam-libraries table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
.cam-libraries :is(th, td) { padding: .3rem .6rem; border: 0; border-bottom: 1px solid rgba(128,128,128,.35);
  text-align: left; white-space: nowrap; }
.cam-libraries th { font-weight: 600; }
.cam-libraries tr > :first-child { padding-left: 0; }
.cam-libraries .number { text-align: right; }
</style>
"""


@dataclass(frozen=True)
class _Look:
    """What is shown of a library: what it and another offer, and its records on a plane with their thumbnails."""

    tallies: list[Tally]
    shared: int
    records: int
    plane: Plane
    titles: list[str]
    notes: list[str]
    sheet: bytes


def show(choice: Choice) -> None:
    """Draws the page."""
    board = Board()
    if made := just_made("library"):
        key, st.session_state["removed libraries"] = made
        turn("shown library", key)
    st.subheader("Reference libraries", anchor=False)
    st.caption(
        "What a network makes of many pictures, kept so that Libra-CAM can compare yours with them. A library belongs "
        "to one network at one layer."
    )
    libraries = installed()
    titles = [
        "Name",
        "Network",
        "Layer",
        "Pictures",
        "Classes",
        "Size",
        "Made of",
        "Made",
        "Last used",
        "Content",
    ]
    st.html(_table("Reference libraries", titles, [_cells(info) for info in libraries]))
    if not libraries:
        st.caption("None is built yet; the built-in one is made when first needed.")
    _room(sum(info.bytes for info in libraries))
    # Each part has a place of its own, so that what is open below stays open when something comes or goes above.
    with st.container():
        for begun in unfinished():
            _half_built(begun)
        for folder in unreadable():
            _broken(folder)
    line = status_line()
    with st.container():
        if libraries:
            _one(board, libraries)
    with st.container():
        build_form(board, choice)
        report(board, choice, pictures=False, methods=False)
    with st.container():
        import_form()
    follow(board, line)


def _room(used: int) -> None:
    """How much of the room for libraries is taken, and what was removed for want of it."""
    try:
        room = f"{budget() / 1e9:g} GB"
    except ExplorerError as error:
        st.error(plain(str(error)))
        return
    st.caption(f"{_size(used)} of {room} on this server's disk; beyond that the least recently used go.")
    if removed := st.session_state.get("removed libraries"):
        names = "; ".join(map(_called, removed))
        st.info(
            plain(
                f"Removed, as the least recently used, since all libraries together were over {room}: {names}."
            )
        )


def _half_built(begun: Unfinished) -> None:
    if not busy("library"):
        text = (
            f"The library {begun.name!r} for {begun.backbone} at {begun.layer} is not finished ({begun.source}, "
            f"{begun.pictures:,} pictures). Choose the same pictures and press Build to go on."
        )
        what = "Deletes what is built of it so far."
        _left_over(text, "Give up", f"give up {begun.space} {begun.name}", what, forget, begun)


def _broken(folder: Path) -> None:
    text = (
        f"The index of a library cannot be read (folder {folder.name[:12]} …). Merge or import it again under its "
        "name, or delete it."
    )
    what = "Removes all files of this library from the server."
    _left_over(text, "Delete", f"discard {folder.name}", what, discard, folder)


def _left_over(
    text: str, label: str, key: str, what: str, deed: Callable[..., object], *arguments: object
) -> None:
    """What is no whole library, and the button that removes it."""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(plain(text))
        st.button(label, key=key, on_click=_do, args=(deed, *arguments), help=what)


def _do(deed: Callable[..., object], *arguments: object) -> None:
    """Does a short deed; says why where it cannot be done."""
    try:
        deed(*arguments)
    except ExplorerError as error:
        st.toast(plain(str(error)))


def _one(board: Board, libraries: Sequence[LibraryInfo]) -> None:
    """One library, perhaps beside another: what it offers, its records on a plane, and what can be done with it."""
    known = {key_of(info): info for info in libraries}
    left, right = st.columns(2)
    with left:
        chosen = selected(
            "shown library",
            next(iter(known)),
            list(known),
            label="Library",
            format_func=lambda key: _called(known[key]),
            help="The one to look into.",
        )
    info = known[chosen]
    others = {key: other for key, other in known.items() if key != chosen and other.space == info.space}
    with right:
        beside = selected(
            "beside library",
            _NONE,
            [_NONE, *others],
            known=known,
            label="Compare with",
            format_func=lambda key: _called(others[key]) if key in others else "No other",
            disabled=not others,
            help="Another library of this network at this layer.",
        )
    pair = (info, others[beside]) if beside in others else (info,)

    def look(_: Engine, job: Job[_Look]) -> _Look:
        job.begin("Looking at a library")
        found = [opened(one) for one in pair]
        seen = plane(found[0])
        rows = seen.indices.tolist()
        return _Look(
            [tally(one) for one in found],
            common(found[0], found[-1]),
            len(found[0]),
            seen,
            [found[0].ids[row] for row in rows],
            [f"{float(found[0].confidence[row]):.0%} sure" for row in rows],
            contact_sheet([found[0].thumbnail(row).numpy() for row in rows], SIDE, COLUMNS),
        )

    identity = tuple((one.space, one.name, one.fingerprint, one.created) for one in pair)
    job = board.ask(service().run(("look", identity), look, waiter()))
    if job.error is not None:
        st.error(plain(job.error))
    elif job.result is not None:
        st.html(_tallies(pair, job.result))
        _draw(info, job.result)
    if info.skipped:
        with st.expander(f"Files that could not be read: {len(info.skipped)}"):
            st.markdown("\n".join(f"- {plain(reason)}" for reason in info.skipped))
    _deeds(board, info)


def _tallies(pair: Sequence[LibraryInfo], look: _Look) -> str:
    titles = [
        "Library",
        "Pictures",
        "Classes",
        "Recognised rightly",
        "Rightly, with 80% or more",
        "Median probability",
    ]
    rows = [
        (
            info.name,
            f"{found.records:,}",
            f"{found.classes:,}",
            f"{found.right / found.records:.0%}",
            f"{found.confident / found.records:.0%}",
            f"{found.confidence:.2f}",
        )
        for info, found in zip(pair, look.tallies, strict=True)
    ]
    both = f"<p>{look.shared:,} pictures are in both.</p>" if len(pair) > 1 else ""
    return _table("What the library offers", titles, rows) + both


def _draw(info: LibraryInfo, look: _Look) -> None:
    shares = look.plane.shares
    st.markdown("**The pictures as the network sees them**")
    st.caption(
        plain(
            f"Pictures that are near each other are alike to the network: {len(look.titles):,} of "
            f"{look.records:,} on the plane of the two main components of their mean activations, which hold "
            f"{shares[0]:.0%} and {shares[1]:.0%} of what differs. Point at one to see it."
        )
    )
    plane_chart(
        look.plane.places,
        look.titles,
        look.notes,
        look.sheet,
        f"Plane of the library {info.name}",
        key="plane",
    )


def _deeds(board: Board, info: LibraryInfo) -> None:
    """Verify, export, delete."""
    identity = (info.space, info.name, info.fingerprint, info.created)
    verified, when = st.session_state.get("verify", (None, 0))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Verify",
            on_click=lambda: st.session_state.update(verify=(identity, time.time())),
            help="Reads every file and compares it with what was written.",
        )
        if info.bytes <= LARGEST * 10**6:
            st.download_button(
                "Export",
                lambda: _exported(info),
                f"{info.name}.zip",
                "application/zip",
                on_click="ignore",
                help="The library as one file, to be imported on another machine.",
            )
        with st.popover("Delete", help="Asks once more before anything is deleted."):
            st.markdown(plain(f"Delete {_called(info)}? It has to be built or imported again to come back."))
            st.button(
                "Delete it",
                type="primary",
                on_click=_do,
                args=(delete, info),
                help="Removes its files from this server, for every visitor.",
            )
    if info.bytes > LARGEST * 10**6:
        st.caption("Too large to be exported through the browser: use `cam-explorer library export`.")
    if verified == identity:
        key = ("verify", identity, when)
        job = board.ask(service().run(key, lambda _, job: _verified(info, job), waiter(), priority=FOLLOWING))
        if job.error is not None:
            st.error(plain(job.error))
        elif job.result:
            st.success("Every file holds what was written.")


def _verified(info: LibraryInfo, job: Job[bool]) -> bool:
    def progress(done: int, total: int) -> None:
        job.begin(f"Verifying {info.name}", total)
        job.advance(done)

    check(info, progress)
    return True


def _exported(info: LibraryInfo) -> bytes:
    file = io.BytesIO()
    export(info, file)
    return file.getvalue()


def _table(label: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td{_numeric(cell)}>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return (
        f'{_STYLE}<div class="cam-libraries" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _numeric(cell: str) -> str:
    return ' class="number"' if re.fullmatch(r"[\d.,]+%?", cell) else ""


def _cells(info: LibraryInfo) -> tuple[str, ...]:
    counts = (f"{info.records:,}", f"{info.classes:,}", _size(info.bytes))
    times = (_date(info.created), _date(info.last_use))
    return (info.name, info.backbone, info.layer, *counts, info.source, *times, info.fingerprint[:8])


def _called(info: LibraryInfo) -> str:
    return f"{info.name} ({info.backbone} at {info.layer})"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%d %b %Y %H:%M}"
