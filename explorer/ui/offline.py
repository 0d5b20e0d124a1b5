"""What the page says while the connection to the server is lost."""

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_line = st.components.v2.component(
    "cam_explorer_offline",
    js="".join((_HERE / name).read_text("utf-8") for name in ("element.js", "offline.js")),
    html="<span></span>",
)


def offline_line() -> None:
    """Takes no room; the browser draws it by itself when there is no connection."""
    _line(key="offline", data={"kind": "offline"})
