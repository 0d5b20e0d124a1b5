"""Work that a session has started and that goes on whatever page is looked at: an evaluation, a library, a model."""

from collections.abc import Callable

import streamlit as st

from explorer.compute import Job, State
from explorer.ui.cells import plain
from explorer.ui.press import pressed
from explorer.ui.state import lasting, service
from explorer.ui.view import turn


def busy(kind: str) -> bool:
    """Whether one is being made."""
    job = lasting(kind)
    return job is not None and not job.settled


def start(kind: str, job: Callable[[], Job[str]]) -> None:
    """Starts work; what has failed or was made before is done again."""
    found = job()
    if found.settled:
        service().retry(found)
        found = job()
    st.session_state[f"lasting {kind}"] = found


def turn_to_finished(kind: str, key: str) -> None:
    """Has a select box of the view, known by its key, show what has just been made."""
    job = lasting(kind)
    if job is not None and job.state is State.DONE:
        turn(key, job.result)
        _stop(kind)


def start_and_stop(
    kind: str, ready: bool, names: tuple[str, str], helps: tuple[str, str], act: Callable[[], None]
) -> None:
    """Draws the buttons that start and stop, and why what was started has failed.

    Args:
        ready: whether it can be started.
        names, helps: of the two buttons.
        act: starts it.
    """
    with st.container(horizontal=True):
        begun = pressed(names[0], type="primary", disabled=busy(kind) or not ready, help=helps[0])
        st.button(names[1], disabled=not busy(kind), on_click=_stop, args=(kind,), help=helps[1])
    if begun and ready and not busy(kind):
        act()
        st.rerun()
    job = lasting(kind)
    if job is not None and job.error is not None:
        st.error(plain(job.error))


def _stop(kind: str) -> None:
    """Waits for it no longer."""
    st.session_state.pop(f"lasting {kind}", None)
