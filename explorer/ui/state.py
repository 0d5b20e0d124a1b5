"""What all sessions share, and who this session is to the shared workers."""

import uuid

import streamlit as st

from explorer.compute import Service


@st.cache_resource(show_spinner=False)
def service() -> Service:
    """The one service of this server."""
    return Service()


def waiter() -> str:
    """The name under which this session waits for jobs."""
    return st.session_state.setdefault("waiter", uuid.uuid4().hex)
