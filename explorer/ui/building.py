"""Building a library from the page, or taking one in that was exported elsewhere."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import streamlit as st

from explorer.compute import BACKGROUND, Engine, Job
from explorer.evaluation import Pace
from explorer.library import (
    Keep,
    LibraryError,
    LibraryInfo,
    Recipe,
    Source,
    build,
    from_entries,
    from_pictures,
    refuse_own,
    take_in,
    textures,
    tidy,
)
from explorer.ui.board import Board
from explorer.ui.cells import plain
from explorer.ui.lasting import busy, start, start_and_stop
from explorer.ui.pictures import PAGE, find, pick
from explorer.ui.press import pressed
from explorer.ui.sidebar import Choice
from explorer.ui.state import service, waiter
from explorer.ui.view import REFUSED, bound, counted, known, one_of, selected, several, toggled, view

LARGEST = 200  # MB, of a library that goes through the browser
_TEXTURES, _TRAIN = "textures", "train"
_MOST = 100_000
_Made = tuple[str, list[LibraryInfo]]  # the key of a library, and what was removed to make room for it
_LAYERS = "Several are filled in one pass over the pictures; the deepest stands first."
_KEEP = {"all": "All that can be read", "confident": "Recognised rightly, with at least 80%"}


@dataclass(frozen=True)
class _Origin:
    """Pictures that a library can be made of; equal identities are equal pictures."""

    title: str
    source: str
    identity: str
    sources: Callable[[], list[Source]]


def build_form(board: Board, choice: Choice) -> None:
    """Draws what decides a library, and the buttons that build it and pause."""
    st.subheader("Build a library", anchor=False)
    st.caption(plain(f"For {choice.request.backbone}, the network chosen in the sidebar."))
    first, second, third = st.columns(3)
    with first:
        origin = _origin(board, choice)
    with second:
        keep = selected(
            "keep",
            "all",
            list(_KEEP),
            label="Take",
            format_func=_KEEP.__getitem__,
            help="Pictures that the network recognises with confidence make better references.",
        )
        size = _number(
            "most", 0, _MOST, "At most in all", "Drawn at random from the pictures; 0 for no limit."
        )
    with third:
        layers = _layers(board, choice)
        per_class = _number("most.class", 0, _MOST, "At most of each class", "0 for no limit.")
        balanced = toggled(
            "balanced",
            label="Balanced",
            disabled=not size,
            help="Every class gets its share of the number in all.",
        )
    title = origin.title if origin else ""
    name = st.text_input(
        "Name", title, key=f"name {title}", max_chars=60, help="A former library of this name is replaced."
    ).strip()
    limits = (cast(Keep, keep), per_class, size, balanced and bool(size))

    def begin() -> None:
        assert origin is not None
        _build(choice.request.backbone, layers, name, limits, origin)

    start_and_stop(
        "library",
        bool(origin and layers and name),
        ("Build", "Pause"),
        (
            "Goes on where the same build was stopped; you may look at other pages meanwhile.",
            "What is built is kept: Build goes on from there.",
        ),
        begin,
    )


def import_form() -> None:
    """Draws what takes a library in."""
    with st.expander("Import a library that was exported elsewhere"):
        file = st.file_uploader(
            "Exported library",
            type="zip",
            key="import",
            max_upload_size=LARGEST,
            help=f"A file that Export or `cam-explorer library export` wrote, up to {LARGEST} MB.",
        )
        name = st.text_input(
            "Another name", key="import name", max_chars=60, help="Empty: the name that it was exported with."
        ).strip()
        asked = pressed(
            "Import",
            disabled=file is None or busy("library"),
            help="Checks the file and adds its library to those of this server.",
        )
        if asked and file is not None and not busy("library"):
            _import(file, name)
            st.rerun()


def key_of(info: LibraryInfo) -> str:
    """What stands for a library in the link of a view."""
    return f"{info.backbone} {info.layer} {info.space[:6]} {info.name}"


def _origin(board: Board, choice: Choice) -> _Origin | None:
    chosen = pick("made of", {_TEXTURES: "Generated textures"})
    if chosen == _TEXTURES:
        count = _number(
            "textures", 64, 2000, "Textures", "Noise, gratings, cells and gradients, without an object."
        )
        return _Origin(
            f"{count} textures", "generated textures", f"textures {count}", lambda: textures(count)
        )
    if chosen == PAGE:
        jobs = [board.watch(job) for job in choice.pictures()]
        pictures = [job.result for job in jobs if job.result is not None]
        identity = " ".join(picture.digest for picture in pictures)
        made = _Origin("my pictures", "pictures of the page", identity, lambda: from_pictures(pictures))
        return made if pictures and len(pictures) == len(jobs) else None
    split = view().keep("split", known("split", _TRAIN, _part), _TRAIN)
    alone = toggled(
        "no.labels",
        label="Ignore the classes",
        help="What the network sees in each picture stands in for the class that the data set tells.",
    )
    job = find(chosen, "made of", choice, split, alone=alone)
    found = board.watch(job).result if job is not None else None
    if found is None:
        return None
    source, _ = found
    if source.splits:
        selected(
            "split",
            source.splits[0],
            source.splits,
            label="Part of the data set",
            help="A library of the part for training leaves the others for tests.",
        )
    title = source.name.replace(".zip", "")[:60]
    identity = f"{source.identity} {alone}"
    return _Origin(title, source.name[:60], identity, lambda: from_entries(source.entries))


def _part(text: str) -> Any:
    return text if text.isalnum() and len(text) < 40 else REFUSED


def _layers(board: Board, choice: Choice) -> tuple[str, ...]:
    known = [layer.name for layer in reversed(board.watch(choice.layers()).result or ())]
    if not known:
        st.multiselect("Layers", [], disabled=True, key="layers to fill", help=_LAYERS)
        return ()
    default = choice.request.layer or known[0]
    return tuple(
        bound(
            st.multiselect,
            f"filled.{choice.request.backbone}.{default}",
            [default],
            several(one_of(known)),
            ",".join,
            label="Layers",
            options=known,
            help=_LAYERS,
        )
    )


def _number(key: str, default: int, high: int, label: str, about: str) -> int:
    return counted(st.number_input, key, default, 0, high, label=label, step=1, help=about)


def _build(
    backbone: str,
    layers: tuple[str, ...],
    name: str,
    limits: tuple[Keep, int, int, bool],
    origin: _Origin,
) -> None:
    try:
        refuse_own(name)
        recipe = Recipe(name, origin.source, *limits)
    except LibraryError as error:
        st.toast(plain(str(error)))
        return

    def work(engine: Engine, job: Job[_Made]) -> _Made:
        network, pace = engine.backbone(backbone, job), Pace()

        def progress(done: int, total: int, written: int) -> None:
            parts = [f"Building {name}", f"{written / 1e6:.0f} MB", pace(done, total)]
            job.begin(", ".join(filter(None, parts)), total)
            job.advance(done)

        infos = build([network.cut(layer) for layer in layers], recipe, origin.sources(), progress)
        return key_of(infos[-1]), tidy(infos)

    key = ("library", backbone, layers, recipe, origin.identity)
    start("library", lambda: service().run(key, work, waiter(), priority=BACKGROUND))


def _import(file: io.BytesIO, name: str) -> None:
    data = file.getvalue()

    def work(_: Engine, job: Job[_Made]) -> _Made:
        job.begin("Importing a library")
        info = take_in(io.BytesIO(data), name or None, LARGEST * 10**6)
        return key_of(info), tidy([info])

    start("library", lambda: service().run(("library", hash(data), name), work, waiter()))
