"""A search as a film, played and stepped through in the browser without a round trip."""

import base64
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_film = st.components.v2.component(
    "cam_explorer_frames",
    css=(_HERE / "frames.css").read_text("utf-8"),
    js="".join((_HERE / name).read_text("utf-8") for name in ("element.js", "frames.js")),
)


def film(frames: Sequence[bytes], chances: Sequence[float], whole: float, alt: str, key: str) -> None:
    """Draws the first of the frames (JPEG), with the probability at each of them and that of the ``whole`` picture."""
    _film(
        key=key,
        data={
            "kind": "film",
            "key": key,
            "frames": [base64.b64encode(frame).decode("ascii") for frame in frames],
            "chances": list(chances),
            "whole": whole,
            "alt": alt,
            "curve": f"The probability from iteration to iteration, from {chances[0]:.1%} to {chances[-1]:.1%}; the "
            f"dashed line is the whole picture, {whole:.1%}",
        },
    )
