"""The page Your model: a checkpoint tried out, kept under a name, and chosen as the backbone."""

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from explorer import backbones
from explorer.backbones import OwnModel, OwnModelError
from explorer.compute import BACKGROUND, Engine, Job, Trial, try_out
from explorer.images import Picture
from explorer.ui.board import Board
from explorer.ui.cells import plain
from explorer.ui.checkpoints import Model, form
from explorer.ui.lasting import start, start_and_stop
from explorer.ui.live import fault, follow, status_line
from explorer.ui.press import pressed
from explorer.ui.sidebar import Choice
from explorer.ui.state import lasting, service, waiter
from explorer.ui.view import turn

_LISTED = 8


def show(choice: Choice, compare: StreamlitPage) -> None:
    """Draws the page.

    Args:
        compare: where a model is explained.
    """
    board = Board()
    st.subheader("Your model", anchor=False)
    st.caption(
        "Weights of your own in an architecture of torchvision or timm. How many classes there are is found from the "
        "weights; no code in the file is run. A model that is kept stands first among the backbones, for every "
        "visitor of this server."
    )
    made = lasting("model")
    line = status_line()
    with st.container():
        for own in backbones.own_models():
            _kept(own, compare, new=made is not None and own.identifier == made.result)
    st.subheader("Add a model", anchor=False)
    if (model := form()) is not None:
        if pressed(
            "Try it", help="Loads the weights, lists the layers, and shows the model the first picture."
        ):
            st.session_state["tried model"] = model.key
        if st.session_state.get("tried model") == model.key:
            _tried(board, choice, model)
    follow(board, line)


def _kept(model: OwnModel, compare: StreamlitPage, *, new: bool) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**{plain(model.name)}**{' :green[just kept]' if new else ''}  \n"
            + plain(
                f"{model.architecture}, {len(model.labels)} classes, {model.megabytes:.0f} MB, from {model.source}"
            )
        )
        if pressed(
            "Explain with it",
            f"use {model.fingerprint}",
            type="primary" if new else "secondary",
            help="Chooses it as the network and opens Compare.",
        ):
            turn("backbone", model.identifier)
            st.switch_page(compare)
        with st.popover("Delete", help="Asks once more before anything is deleted."):
            st.markdown(plain(f"Delete {model.name} from this server? What was made with it stays."))
            if pressed(
                "Delete it", f"delete {model.fingerprint}", help="Removes its weights, for every visitor."
            ):
                try:
                    backbones.delete(model)
                except OwnModelError as refusal:
                    st.error(plain(str(refusal)))
                else:
                    st.rerun()


def _tried(board: Board, choice: Choice, model: Model) -> None:
    """What the model turned out to be, or why it does not work; if it does, what keeps it."""
    pictures = [job.result for job in map(board.ask, choice.pictures()) if job.result is not None]
    picture: Picture | None = next(iter(pictures), None)

    def work(engine: Engine, job: Job[Trial]) -> Trial:
        job.begin("Trying the model")
        with model.file.path() as path:
            given = dict(model.seen)
            return try_out(
                model.architecture, path, model.labels, given, model.file.name, picture, engine.device
            )

    key = ("trial", *model.key, picture and picture.digest)
    job = board.ask(service().run(key, work, waiter()))
    if job.error is not None:
        fault(job)
        return
    if job.result is None:
        st.caption("Trying the model …")
        return
    _report(job.result, picture)
    name = st.text_input(
        "Name",
        Path(model.file.name).stem[:60],
        key=f"name {model.file.identity}",
        max_chars=60,
        help="What to call it.",
    ).strip()

    def begin() -> None:
        start(
            "model", lambda: service().run(("model", name, *model.key), keep, waiter(), priority=BACKGROUND)
        )

    def keep(_: Engine, job: Job[str]) -> str:
        job.begin(f"Keeping {name}")
        with model.file.path() as path:
            given, source = dict(model.seen), model.file.name
            return backbones.keep(name, model.architecture, path, model.labels, given, source).identifier

    helps = "Stores the weights on this server.", "Leaves it."
    start_and_stop("model", bool(name), ("Keep it", "Stop"), helps, begin)


def _report(trial: Trial, picture: Picture | None) -> None:
    height, width = trial.preprocessing.crop
    st.success(f"It works: {len(trial.labels)} classes, {len(trial.layers)} layers that can be explained.")
    if picture is not None:
        says = ", ".join(f"{label} {chance:.1%}" for label, chance in trial.best)
        st.markdown(plain(f"Of {picture.name} it says: {says}."))
    shown = ", ".join(trial.labels[:_LISTED]) + (" …" if len(trial.labels) > _LISTED else "")
    st.caption(plain(f"Classes: {shown}"))
    mean, std = (
        ", ".join(f"{value:g}" for value in values)
        for values in (trial.preprocessing.mean, trial.preprocessing.std)
    )
    st.caption(f"It sees {width} x {height} pixels, mean {mean}, standard deviation {std}.")
    with st.expander("Layers, the deepest first"):
        st.table(
            {
                "Layer": [layer.name for layer in reversed(trial.layers)],
                "Channels x height x width": [layer.shape for layer in reversed(trial.layers)],
            }
        )
