"""Work that a session has started and that goes on whatever page is looked at: an evaluation, a library, a model."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from explorer.compute import Job, State
from explorer.ui.cells import plain
from explorer.ui.press import pressed
from explorer.ui.state import lasting, service


def busy(kind: str) -> bool:
    """Whether one is being made."""
    job = lasting(kind)
    return job is not None and not job.settled


def start(kind: str, job: Callable[[], Job[Any]]) -> None:
    """Starts work; what has failed or was made before is done again."""
    found = job()
    if found.settled:
        service().retry(found)
        found = job()
    st.session_state[f"lasting {kind}"] = found
    st.session_state.pop(f"stopping {kind}", None)


def just_made(kind: str) -> Any:
    """The result of what has just been made, once; None where nothing has."""
    job = lasting(kind)
    if job is None or job.state is not State.DONE:
        return None
    _stop(kind)
    return job.result


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
        st.button(names[1], disabled=not busy(kind), on_click=_interrupt, args=(kind,), help=helps[1])
    if begun and ready and not busy(kind):
        act()
        st.rerun()
    job = lasting(kind)
    if job is not None and job.error is not None:
        st.error(plain(job.error))
    given_up = job if job is not None and job.state is State.CANCELLED else None
    stopped = st.session_state.get(f"stopping {kind}") or given_up
    if stopped is not None and stopped.settled and stopped.total:
        st.info(f"Stopped after {stopped.done:,} of {stopped.total:,}. {helps[1]}")


def _stop(kind: str) -> None:
    """Waits for it no longer."""
    st.session_state.pop(f"lasting {kind}", None)


def _interrupt(kind: str) -> None:
    """The same; what goes on until its next step is drawn until then."""
    st.session_state[f"stopping {kind}"] = lasting(kind)
    _stop(kind)
