"""Buttons that are heard even where the run that brings their press is broken off by the next one."""

from typing import Any

import streamlit as st


def pressed(label: str, key: str = "", **options: Any) -> bool:
    """Draws a button; true in the first run after its press that comes to this line.

    Streamlit tells of a press in a single run, which a poll or a widget may break off before it comes to the button;
    the press is noted at once, when that run begins.

    Args:
        key: where the label is not the page's only one.
        options: of ``st.button``.
    """
    note = f"pressed {key or label}"
    st.button(label, key=f"button {key or label}", on_click=_keep, args=(note,), **options)
    return bool(st.session_state.pop(note, False))


def _keep(note: str) -> None:
    st.session_state[note] = True
