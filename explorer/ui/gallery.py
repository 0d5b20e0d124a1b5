"""Small pictures in rows that fit any width, each with a few words."""

import base64
import html
from collections.abc import Iterable
from dataclasses import dataclass

import streamlit as st

_STYLE = """
<style>
.cam-gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .6rem; margin: 0;
  padding: 0 !important; list-style: none; }
.cam-gallery li { margin: 0; padding: .4rem; border: 1px solid rgba(128,128,128,.35); border-radius: .5rem;
  font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }
.cam-gallery :is(img, div) { width: 100%; aspect-ratio: 1; border-radius: .3rem; display: block; margin-bottom: .3rem;
  background: rgba(128,128,128,.15); }
</style>
"""


@dataclass(frozen=True)
class Item:
    """A square picture, as JPEG, with a title and lines of plain text below it; None for one that is to come."""

    jpeg: bytes | None
    alt: str
    title: str
    lines: tuple[str, ...] = ()


def gallery(items: Iterable[Item]) -> None:
    """Draws the pictures."""
    st.html(f'{_STYLE}<ul class="cam-gallery">{"".join(map(_entry, items))}</ul>')


def _entry(item: Item) -> str:
    if item.jpeg is None:
        image = "<div></div>"
    else:
        encoded = base64.b64encode(item.jpeg).decode("ascii")
        image = f'<img alt="{html.escape(item.alt)}" src="data:image/jpeg;base64,{encoded}">'
    lines = "".join(f"<br>{html.escape(line)}" for line in item.lines)
    return f"<li>{image}<b>{html.escape(item.title)}</b>{lines}</li>"
