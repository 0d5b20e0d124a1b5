"""What all sessions share, and who this session is to the shared workers."""

import uuid
from collections.abc import Callable

import streamlit as st

from explorer.compute import Job, Service


@st.cache_resource(show_spinner=False)
def service() -> Service:
    """The one service of this server."""
    return Service()


def waiter() -> str:
    """The name under which this session waits for jobs."""
    return st.session_state.setdefault("waiter", uuid.uuid4().hex)


def lasting(kind: str) -> Job[str] | None:
    """The "evaluation" or the "library" that this session is making; whatever page is looked at, it goes on."""
    return st.session_state.get(f"lasting {kind}")


def start(kind: str, job: Callable[[], Job[str]]) -> None:
    """Starts work that goes on whatever page is looked at; one that has failed or was made before is done again."""
    found = job()
    if found.settled:
        service().retry(found)
        found = job()
    st.session_state[f"lasting {kind}"] = found


def stop(kind: str) -> None:
    """Waits for that work no longer."""
    st.session_state.pop(f"lasting {kind}", None)
