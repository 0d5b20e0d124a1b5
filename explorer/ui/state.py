"""What all sessions share, and who this session is to the shared workers."""

import uuid

import streamlit as st

from explorer.compute import Job, Service


@st.cache_resource(show_spinner=False)
def service() -> Service:
    """The one service of this server."""
    return Service()


def waiter() -> str:
    """The name under which this session waits for jobs."""
    return st.session_state.setdefault("waiter", uuid.uuid4().hex)


def evaluating() -> Job[str] | None:
    """The evaluation that this session has started; whatever page is looked at, it goes on."""
    return st.session_state.get("evaluating")
