"""Plotly figures as plain dictionaries: they are quick to make and quick to send."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.calibration import Calibration
from explorer.render.colour import DIVERGING

# Okabe and Ito's palette, told apart by colour-blind readers, in an order readable on light and dark.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C8C8C", "#B8A800")
DASHES = ("solid", "dash", "dot", "dashdot")
_AXIS = {"gridcolor": "rgba(128,128,128,.25)", "zeroline": False}
_GREY = "#8C8C8C"
_CLEAR = "rgba(0,0,0,0)"
_LAYOUT = {
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


def calibration_chart(
    curves: Sequence[tuple[str, Calibration]], cut: int | None, *, gain: bool = False
) -> dict[str, Any]:
    """The target's masked probability (or gain) against the area removed, for several maps.

    Args:
        curves: (name, calibration); the recommended cut of each is marked.
        cut: the chosen cut in percent removed, drawn as a line; None where each map takes its own.
        gain: masked less original probability instead of the probability.
    """
    traces: list[dict[str, Any]] = []
    for position, (name, calibration) in enumerate(curves):
        colour = PALETTE[position % len(PALETTE)]
        values = calibration.gains if gain else calibration.probabilities
        best = calibration.removed.index(calibration.cut) if calibration.cut in calibration.removed else None
        line = {"color": colour, "width": 2, "dash": DASHES[position // len(PALETTE) % len(DASHES)]}
        unit = "gain" if gain else "probability"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": list(calibration.removed),
                "y": list(values),
                "line": line,
                "marker": {
                    "size": [13 if i == best else 5 for i in range(len(values))],
                    "symbol": ["star" if i == best else "circle" for i in range(len(values))],
                    "color": colour,
                },
                "hovertemplate": f"%{{x}} % removed: {unit} %{{y:.3f}}<extra>{name}</extra>",
            }
        )
        original = 0.0 if gain else calibration.probability
        if all(trace["name"] != "whole picture" or trace["y"][0] != original for trace in traces):
            traces.append(_level(original))
    return {
        "data": traces,
        "layout": {
            **_LAYOUT,
            "shapes": [] if cut is None else [_mark(cut)],
            "xaxis": {
                **_AXIS,
                "title": {"text": "Area removed, lowest values first (%)"},
                "range": [-2, 102],
            },
            "yaxis": {**_AXIS, "title": {"text": "Gain" if gain else "Probability of the class"}},
            "height": 340,
            "hovermode": "closest",
        },
    }


def _mark(x: float) -> dict[str, Any]:
    line = {"color": "#888", "width": 2, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def _level(value: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "whole picture",
        "x": [0, 100],
        "y": [value, value],
        "line": {"color": "#888", "width": 1},
        "hoverinfo": "skip",
    }


def gains_chart(gains: Sequence[float], kept: Sequence[bool], names: Sequence[str]) -> dict[str, Any]:
    """The gain of each reference in the order of the selection, kept ones apart from rejected ones."""
    traces = []
    for wanted, name, colour in ((True, "kept", PALETTE[2]), (False, "rejected", PALETTE[6])):
        chosen = [i for i, keep in enumerate(kept) if keep is wanted]
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": [i + 1 for i in chosen],
                "y": [gains[i] for i in chosen],
                "customdata": [names[i] for i in chosen],
                "marker": {"color": colour},
                "hovertemplate": "%{customdata}: gain %{y:.3f}<extra>" + name + "</extra>",
            }
        )
    return {
        "data": traces,
        "layout": {
            **_LAYOUT,
            "xaxis": {**_AXIS, "title": {"text": "Reference, in the order of the selection"}},
            "yaxis": {**_AXIS, "title": {"text": "Gain in probability"}, "zeroline": True},
            "height": 280,
            "bargap": 0.25,
        },
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
            "hovertemplate": f"%{{x:.1f}} % {verb}: %{{y:.1f}} %<extra>{curve.name}</extra>",
        }
        for curve, line in zip(curves, _lines(curves), strict=True)
    ]
    return {
        "data": traces,
        "layout": {
            **_LAYOUT,
            "shapes": [_mark(changed[step])],
            "xaxis": {
                **_AXIS,
                "title": {"text": f"Pixels {verb}, most salient first (%)"},
                "range": [-2, 102],
            },
            "yaxis": {**_AXIS, "title": {"text": "Probability of the class (%)"}, "rangemode": "tozero"},
            "height": 380,
            "showlegend": True,
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
            "marker": {"size": 9, "color": line["color"]},
            "hovertemplate": f"%{{x}}: %{{y:.1f}} %<extra>{profile.name}</extra>",
        }
        for profile, line in zip(profiles, _lines(profiles), strict=True)
    ]
    return {
        "data": traces,
        "layout": {
            **_LAYOUT,
            "xaxis": {**_AXIS, "range": [-0.25, len(axes) - 0.75]},
            "yaxis": {**_AXIS, "title": {"text": "Figure (%)"}, "range": [-3, 103]},
            "height": 380,
            "showlegend": True,
            "hovermode": "closest",
        },
    }


def _lines(series: Sequence[Series]) -> list[dict[str, Any]]:
    """Methods in the colours of the palette, controls thin and grey; dashes tell apart what shares a colour."""
    found: list[dict[str, Any]] = []
    methods = controls = 0
    for one in series:
        if one.control:
            dash = DASHES[(1 + controls) % len(DASHES)]
            found.append({"color": _GREY, "width": 1.5, "dash": dash})
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
                "colorbar": {"thickness": 10, "outlinewidth": 0},
            }
        ],
        "layout": {
            **_LAYOUT,
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "xaxis": {"automargin": True, "showgrid": False, "tickangle": -40},
            "yaxis": {"automargin": True, "showgrid": False, "autorange": "reversed"},
            "height": 160 + 40 * len(names),
        },
    }
