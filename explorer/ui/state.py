"""What all sessions share, who this session is to the shared workers, and what it has begun."""

import atexit
import gc
import sys
import uuid
from collections.abc import Set
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.compute import Job, Service

KINDS = "evaluation", "library", "model"


@st.cache_resource(show_spinner=False)
def service() -> Service:
    """The one service of this server.

    Streamlit (1.67) looks for garbage after every run. What is imported by now is none, and would take a fifth of a
    second and more to look through each time, in which no thread goes on.

    It also puts the folder of the script at the front of ``sys.path`` for the time of each run unless it is there; a
    worker that looks for a module while it is taken away again skips one of the folders behind it. At the end it shifts
    none; it stands there twice, since the run that is going on takes one away.
    """
    folder = str(Path(__file__).resolve().parent)
    sys.path[:] = [*(path for path in sys.path if path != folder), folder, folder]
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)
    return Service()


def waiter() -> str:
    """The name under which this session waits for jobs."""
    return st.session_state.setdefault("waiter", uuid.uuid4().hex)


def lasting(kind: str) -> Job[Any] | None:
    """What of a kind (one of ``KINDS``) was begun last and has not been taken over."""
    return st.session_state.get(f"lasting {kind}")


def taken() -> Job[Any] | None:
    """The bundle that was last asked for, while it is made or still held."""
    key = st.session_state.get("taken")
    return service().encoded(key) if key else None


def stopping() -> set[Job[Any]]:
    """What has been stopped, and may go on until its next step."""
    found = (st.session_state.get(f"stopping {kind}") for kind in KINDS)
    return {job for job in found if job is not None}


def stop(jobs: Set[Job[Any]]) -> None:
    """Gives up what this session waits for until it goes on; a bundle until it is asked for anew."""
    bundle = taken()
    if bundle in jobs:
        del st.session_state["taken"]
    service().stop(waiter(), jobs - {bundle})


def begun() -> list[Job[Any]]:
    """What goes on whatever page is looked at."""
    return [job for job in (*map(lasting, KINDS), taken(), *stopping()) if job is not None]
