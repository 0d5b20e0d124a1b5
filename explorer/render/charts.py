"""Plotly figures as plain dictionaries: they are quick to make and quick to send."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.render.colour import DIVERGING

# Okabe and Ito's palette, told apart by colour-blind readers, in an order readable on light and dark.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800")
DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("square", "diamond", "x", "triangle-up")
GREY = "#8C8C8C"
AXIS = {"gridcolor": "rgba(128,128,128,.25)", "zeroline": False}
_CLEAR = "rgba(0,0,0,0)"
LAYOUT: dict[str, Any] = {
    "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    "paper_bgcolor": _CLEAR,
    "plot_bgcolor": _CLEAR,
    "uirevision": "keep",
}


class Series(NamedTuple):
    """One method's values in a chart, none while they are being measured; controls are grey."""

    name: str
    values: Sequence[float]
    control: bool


class Cuts(NamedTuple):
    """One map's values at several levels of a cut, and its value on the ``whole`` picture.

    ``best`` is the position of the recommended level; ``released`` the level that the released code would apply.
    """

    name: str
    levels: Sequence[int]
    values: Sequence[float]
    whole: float
    best: int | None
    released: int | None = None


def calibration_chart(
    curves: Sequence[Cuts],
    cut: int | None = None,
    *,
    across: str = "Area removed, lowest values first (%)",
    up: str = "Probability of the class",
) -> dict[str, Any]:
    """What the network says of the class against the level at which several maps are cut.

    Args:
        cut: a chosen level, drawn as a line; None where each map takes its own.
        across, up: titles of the axes.
    """
    traces: list[dict[str, Any]] = []
    for position, curve in enumerate(curves):
        colour = PALETTE[position % len(PALETTE)]
        line = {"color": colour, "width": 2, "dash": DASHES[position // len(PALETTE) % len(DASHES)]}
        levels = range(len(curve.levels))
        small = 5 if len(levels) < 20 else 3
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": curve.name,
                "x": list(curve.levels),
                "y": list(curve.values),
                "line": line,
                "marker": {
                    "size": [13 if i == curve.best else small for i in levels],
                    "symbol": ["star" if i == curve.best else "circle" for i in levels],
                    "color": colour,
                },
                "hovertemplate": f"%{{x}}%: %{{y:.3f}}<extra>{curve.name}</extra>",
            }
        )
        if curve.released is not None:
            traces.append(_released(curve, curve.released, colour))
    wholes = {curve.whole: PALETTE[place % len(PALETTE)] for place, curve in reversed([*enumerate(curves)])}
    if len(wholes) == 1:
        wholes = dict.fromkeys(wholes, GREY)
    traces += [_level(whole, colour, named=not place) for place, (whole, colour) in enumerate(wholes.items())]
    return {
        "data": traces,
        "layout": {
            **LAYOUT,
            "shapes": [] if cut is None else [_mark(cut)],
            "xaxis": {**AXIS, "title": {"text": across}, "range": [-2, 102]},
            "yaxis": {**AXIS, "title": {"text": up}},
            "height": 340,
            "hovermode": "closest",
        },
    }


def _released(curve: Cuts, level: int, colour: str) -> dict[str, Any]:
    """The released code's level; beyond the last one, where nothing is kept, at the height of the last."""
    at = curve.levels.index(level) if level in curve.levels else -1
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{curve.name}, released code",
        "x": [level],
        "y": [curve.values[at]],
        "marker": {"symbol": "diamond-open", "size": 13, "color": colour, "line": {"width": 2}},
        "hovertemplate": f"released code: %{{x}}%<extra>{curve.name}</extra>",
    }


def _mark(x: float) -> dict[str, Any]:
    line = {"color": GREY, "width": 2, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def _level(value: float, colour: str, *, named: bool) -> dict[str, Any]:
    """The probability on the whole picture, in the colour of its curve where there are several."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "whole picture",
        "x": [0, 100],
        "y": [value, value],
        "line": {"color": colour, "width": 1},
        "showlegend": named,
        "hoverinfo": "skip",
    }


def steps_chart(curves: Sequence[Series], changed: Sequence[float], step: int, verb: str) -> dict[str, Any]:
    """The probability of the class, in percent, while more and more pixels are changed.

    Args:
        changed: share of the pixels, in percent, at each point of the curves.
        step: the point that is marked.
        verb: what happens to the pixels, as in "deleted".
    """
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": curve.name,
            "x": list(changed),
            "y": [100 * value for value in curve.values] or [None] * len(changed),
            "line": line,
            "marker": {
                "size": [10 if i == step else 0 for i in range(len(changed))],
                "color": line["color"],
            },
            "hovertemplate": f"%{{x:.1f}}% {verb}: %{{y:.1f}}%<extra>{curve.name}</extra>",
        }
        for curve, line in zip(curves, _lines(curves), strict=True)
    ]
    return {
        "data": traces,
        "layout": {
            **LAYOUT,
            "shapes": [_mark(changed[step])],
            "xaxis": {
                **AXIS,
                "title": {"text": f"Pixels {verb}, most salient first (%)"},
                "range": [-2, 102],
            },
            "yaxis": {**AXIS, "title": {"text": "Probability of the class (%)"}, "rangemode": "tozero"},
            "height": _height(curves),
            "showlegend": True,
            "hovermode": "closest",
        },
    }


def removal_chart(
    counts: Sequence[int], measured: Sequence[float], predicted: Sequence[float], chosen: int
) -> dict[str, Any]:
    """The logit while channels are taken away, as the network says and as the sum of their shares says.

    Args:
        counts: how many channels are gone at each point.
        chosen: the point that is marked.
    """
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": [str(count) for count in counts],
            "y": list(values),
            "line": {"color": colour, "width": 2, "dash": dash},
            "marker": {"size": [12 if i == chosen else 5 for i in range(len(counts))], "color": colour},
            "hovertemplate": f"%{{x}} channels gone: %{{y:.2f}}<extra>{name}</extra>",
        }
        for name, values, colour, dash in (
            ("the network's logit", measured, PALETTE[0], "solid"),
            ("logit less the shares", predicted, PALETTE[1], "dot"),
        )
    ]
    return {
        "data": traces,
        "layout": {
            **LAYOUT,
            "xaxis": {**AXIS, "type": "category", "title": {"text": "Channels taken away"}},
            "yaxis": {**AXIS, "title": {"text": "Score of the class (logit)"}},
            "height": 300,
            "hovermode": "closest",
        },
    }


def profile_chart(profiles: Sequence[Series], axes: Sequence[str]) -> dict[str, Any]:
    """Several figures of each method, in percent, on one scale: a line from figure to figure."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": profile.name,
            "x": list(axes),
            "y": [100 * value for value in profile.values],
            "line": line,
            "marker": {"size": 9, "color": line["color"], "symbol": symbol},
            "hovertemplate": f"%{{x}}: %{{y:.1f}}%<extra>{profile.name}</extra>",
        }
        for profile, line, symbol in zip(profiles, _lines(profiles), _symbols(profiles), strict=True)
    ]
    return {
        "data": traces,
        "layout": {
            **LAYOUT,
            "xaxis": {**AXIS, "range": [-0.25, len(axes) - 0.75]},
            "yaxis": {**AXIS, "title": {"text": "Figure (%)"}, "range": [-3, 103]},
            "height": _height(profiles),
            "showlegend": True,
            "hovermode": "closest",
        },
    }


def _height(series: Sequence[Series]) -> int:
    """Room for the chart and for its legend, two names in a row."""
    return 340 + 21 * -(-len(series) // 2)


def _symbols(series: Sequence[Series]) -> list[str]:
    """Circles for methods, another mark for each control."""
    marks = itertools.cycle(_SYMBOLS)
    return [next(marks) if one.control else "circle" for one in series]


def _lines(series: Sequence[Series]) -> list[dict[str, Any]]:
    """Methods in the colours of the palette, controls thin and grey; dashes tell apart what shares a colour."""
    found: list[dict[str, Any]] = []
    methods = controls = 0
    for one in series:
        if one.control:
            dash = DASHES[(1 + controls) % len(DASHES)]
            found.append({"color": GREY, "width": 1.5, "dash": dash})
            controls += 1
        else:
            dash = DASHES[methods // len(PALETTE) % len(DASHES)]
            found.append({"color": PALETTE[methods % len(PALETTE)], "width": 2, "dash": dash})
            methods += 1
    return found


def agreement_chart(names: Sequence[str], values: NDArray[np.float64], *, signed: bool) -> dict[str, Any]:
    """A square matrix (n, n) as colours with numbers: from blue over white to orange where values are signed, else from
    white to blue."""
    low, middle, high = (f"rgb{colour}" for colour in DIVERGING)
    scale = [[0, low], [0.5, middle], [1, high]] if signed else [[0, middle], [1, low]]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": list(names),
                "y": list(names),
                "z": values.round(4).tolist(),
                "zmin": -1 if signed else 0,
                "zmax": 1,
                "colorscale": scale,
                "xgap": 1,
                "ygap": 1,
                "texttemplate": "%{z:.2f}",
                "textfont": {"color": "#111"},
                "hovertemplate": "%{y} and %{x}: %{z:.3f}<extra></extra>",
                "colorbar": {
                    "thickness": 10,
                    "outlinewidth": 0,
                    "title": {"text": "rank correlation" if signed else "IoU", "side": "right"},
                },
            }
        ],
        "layout": {
            **LAYOUT,
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "xaxis": {"automargin": True, "showgrid": False, "tickangle": -40},
            "yaxis": {"automargin": True, "showgrid": False, "autorange": "reversed"},
            "height": 160 + 40 * len(names),
        },
    }
