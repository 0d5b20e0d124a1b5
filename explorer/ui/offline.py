"""What the page says while the server does not answer."""

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_line = st.components.v2.component(
    "cam_explorer_offline",
    js="".join((_HERE / name).read_text("utf-8") for name in ("element.js", "offline.js")),
    html="<span></span>",
)


def offline_line() -> None:
    """Takes no room while the server answers; the browser draws it without one."""
    _line(key="offline", data={"kind": "offline"})
