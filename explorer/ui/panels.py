"""Tensors with their numbers, pictures and formulas' terms side by side, in rows that fit any width."""

import base64
import html
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import streamlit as st
from torch import Tensor

from explorer.render.tensor import cells, shades

_MOST = 8  # cells a side whose numbers can still be read
_SIDE = 224
_STYLE = """
<style>
.cam-panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(11rem, 100%), 1fr)); gap: 1rem .8rem; }
.cam-panels figure { margin: 0; min-width: 0; }
.cam-panels figcaption { font-size: .85rem; line-height: 1.4; margin-bottom: .3rem; }
.cam-panels p { font-size: .85rem; line-height: 1.4; margin: .3rem 0 0; }
.cam-panels img { width: 100%; max-width: 20rem; border-radius: .3rem; display: block; }
.cam-panels table { width: 100%; max-width: 20rem; table-layout: fixed; border-collapse: collapse; margin: 0; }
.cam-panels td { padding: .28rem 0; border: 1px solid rgba(128,128,128,.35); font-size: .62rem; line-height: 1.45;
  text-align: center; font-variant-numeric: tabular-nums; white-space: nowrap; overflow: hidden; }
.cam-bars { list-style: none; margin: 0; padding: 0 !important; }
.cam-bars li { margin: 0 0 .45rem; font-size: .9rem; line-height: 1.35; }
.cam-bars span { float: right; font-variant-numeric: tabular-nums; }
.cam-bars div { height: .6rem; border-radius: .2rem; background: rgba(128,128,128,.2); }
.cam-bars i { display: block; height: 100%; border-radius: .2rem; background: #3b82c4; }
.cam-bars .best { font-weight: 700; }
</style>
"""


@dataclass(frozen=True)
class Panel:
    """A tensor (h, w), or a picture as JPEG, below its title and above lines of plain text.

    ``signed`` tensors are blue below and orange above zero; the others go from dark to light.
    """

    title: str
    shown: Tensor | bytes
    alt: str
    lines: tuple[str, ...] = ()
    signed: bool = False


@dataclass(frozen=True)
class Bar:
    """A share from 0 to 1 with its name; ``note`` stands behind the number."""

    name: str
    share: float
    note: str
    best: bool = False


def panels(several: Iterable[Panel]) -> None:
    """Draws panels."""
    st.html(f'{_STYLE}<div class="cam-panels">{"".join(map(_panel, several))}</div>')


def bars(several: Iterable[Bar]) -> None:
    """Draws bars, one below the other."""
    st.html(f'{_STYLE}<ul class="cam-bars">{"".join(map(_bar, several))}</ul>')


def _bar(bar: Bar) -> str:
    width = 100 * min(1.0, max(0.0, bar.share))
    return (
        f"<li{' class=best' if bar.best else ''}>{html.escape(bar.name)}<span>{html.escape(bar.note)}</span>"
        f'<div><i style="width: {width:.1f}%"></i></div></li>'
    )


def _panel(panel: Panel) -> str:
    unit = ""
    if isinstance(panel.shown, bytes):
        inner = _image(panel.shown, panel.alt)
    elif max(panel.shown.shape) > _MOST:
        values = panel.shown.float().numpy()
        inner = _image(cells(values, _SIDE, signed=panel.signed), panel.alt)
        unit = f", from {values.min():.3g} to {values.max():.3g}"
    else:
        inner, unit = _table(panel.shown.float(), panel)
    size = "" if isinstance(panel.shown, bytes) else f" {' x '.join(map(str, panel.shown.shape))}{unit}"
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in panel.lines)
    return f"<figure><figcaption><b>{html.escape(panel.title)}</b>{size}</figcaption>{inner}{lines}</figure>"


def _image(jpeg: bytes, alt: str) -> str:
    encoded = base64.b64encode(jpeg).decode("ascii")
    return f'<img alt="{html.escape(alt)}" src="data:image/jpeg;base64,{encoded}">'


def _table(values: Tensor, panel: Panel) -> tuple[str, str]:
    """The numbers on their colours, and the power of ten in which they are given."""
    reach = float(values.abs().max())
    exponent = math.floor(math.log10(reach)) if reach > 0 and math.isfinite(reach) else 0
    exponent = exponent if not -1 <= exponent <= 1 else 0
    scaled = values / 10.0**exponent
    digits = 2 if float(scaled.abs().max()) < 9.95 else 1
    rows = "".join(
        f"<tr>{''.join(_cell(f'{value:.{digits}f}', colour) for value, colour in zip(row, colours, strict=True))}</tr>"
        for row, colours in zip(
            scaled.tolist(), shades(values.numpy(), signed=panel.signed).tolist(), strict=True
        )
    )
    unit = f", times 10<sup>{exponent}</sup>" if exponent else ""
    return f'<table role="img" aria-label="{html.escape(panel.alt)}">{rows}</table>', unit


def _cell(text: str, colour: list[int]) -> str:
    linear = [((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return f'<td style="background: rgb{tuple(colour)}; color: {"#000" if luminance > 0.18 else "#fff"}">{text}</td>'
