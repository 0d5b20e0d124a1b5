"""Many pictures to work on: those in the sidebar, a data set of this server, or a ZIP file."""

import hashlib
import math
import os
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

import streamlit as st

from explorer import images
from explorer.compute import Engine, Job
from explorer.dataset import TABLES, Entry
from explorer.evaluation import shelf
from explorer.evaluation.shelf import Source
from explorer.ui.sidebar import Choice
from explorer.ui.state import service, waiter
from explorer.ui.view import selected

PAGE, _ZIP, _SET = "page", "zip", "set:"


def pick(key: str, others: Mapping[str, str] | None = None) -> str:
    """Draws the choice of pictures.

    Args:
        key: in the view.
        others: by name, the titles of what can be chosen besides.
    """
    sets = _data_sets()
    titles = {PAGE: "Those in the sidebar", **{_SET + name: f"Data set {name}" for name in sets}}
    titles |= {_ZIP: "A ZIP file", **(others or {})}
    chosen = selected(
        key,
        PAGE,
        list(titles),
        label="Pictures",
        format_func=lambda name: titles[name],
        help="Those chosen in the sidebar, a data set of this server, or a ZIP file of your own.",
    )
    if not sets:
        st.caption("A folder inside the one that EXPLORER_DATA names on the server is a data set here.")
    return chosen


def find(
    chosen: str, key: str, choice: Choice, split: str = "val", *, alone: bool = False
) -> Job[tuple[Source, int]] | None:
    """The pictures that were picked and how many pixels the network sees of each; None while there are none. A ZIP file
    is asked for, by a widget of this key.

    Args:
        split: the part of a data set that has several.
        alone: without what is told of them: classes and boxes.
    """
    if chosen == PAGE:
        if not (choice.samples or choice.uploads):
            return None
        digests = tuple((upload.name, upload.digest) for upload in choice.uploads)
        return _open(choice, (*choice.samples, *digests), lambda _: _of_the_page(choice))
    if chosen == _ZIP:
        file = st.file_uploader(
            "ZIP file",
            type="zip",
            key=f"zip {key}",
            help="Pictures, or a folder of them for each class; labels.csv (columns file, class_index) and boxes.csv "
            "(file, x0, y0, x1, y1) are used. They stay on this server with the results.",
        )
        if file is None:
            return None
        sent, name = file, file.name
        return _open(
            choice,
            (name, sent.file_id, split, alone),
            lambda classes: shelf.from_archive(sent.getvalue(), name, None if alone else classes, split),
        )
    path = _data_sets()[chosen.removeprefix(_SET)]
    with os.scandir(path) as inside:
        inner = [Path(one) for one in inside if one.is_dir() or one.name in TABLES]
    changed = max(one.stat().st_mtime_ns for one in (path, *inner))
    return _open(
        choice,
        (chosen, changed, split, alone),
        lambda classes: shelf.from_folder(path, None if alone else classes, split),
    )


def _data_sets() -> dict[str, Path]:
    """By name, the folders that the operator provides."""
    folder = os.environ.get("EXPLORER_DATA")
    if not folder or not Path(folder).is_dir():
        return {}
    return {path.name: path for path in sorted(Path(folder).iterdir()) if path.is_dir()}


def _open(
    choice: Choice, key: tuple[Hashable, ...], source: Callable[[tuple[str, ...]], Source]
) -> Job[tuple[Source, int]]:
    """The pictures that ``source`` finds for a backbone's labels."""
    name = choice.request.backbone

    def work(engine: Engine, job: Job[tuple[Source, int]]) -> tuple[Source, int]:
        backbone = engine.backbone(name, job)
        job.begin("Looking for pictures")
        return source(backbone.labels), math.prod(backbone.preprocessing.crop)

    return service().run(("pictures", name, *key), work, waiter())


def _of_the_page(choice: Choice) -> Source:
    """The pictures chosen in the sidebar, each once; an upload is stored only when it is evaluated."""
    paths = {name: images.sample_path(name) for name in choice.samples}
    for upload in choice.uploads:
        name, path = upload.name, shelf.picture_path(upload.data)
        if path not in paths.values():
            paths[f"{name} ({path.name[:8]})" if name in paths else name] = path
    content = hashlib.sha256(repr([(name, path.name) for name, path in paths.items()]).encode())
    title = ", ".join(list(paths)[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    return Source(title, content.hexdigest(), tuple(Entry(name, path) for name, path in paths.items()))
