"""Plotly figures as plain dictionaries: they are quick to make and quick to send."""

from collections.abc import Sequence
from typing import Any

from explorer.calibration import Calibration

# Okabe and Ito's palette, told apart by colour-blind readers, in an order readable on light and dark.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C8C8C", "#B8A800")
DASHES = ("solid", "dash", "dot", "dashdot")
_AXIS = {"gridcolor": "rgba(128,128,128,.25)", "zeroline": False}
_CLEAR = "rgba(0,0,0,0)"


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
    shapes = []
    if cut is not None:
        shapes = [
            {
                "type": "line",
                "x0": cut,
                "x1": cut,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": "#888", "width": 2, "dash": "dot"},
            }
        ]
    return {
        "data": traces,
        "layout": {
            "shapes": shapes,
            "xaxis": {
                **_AXIS,
                "title": {"text": "Area removed, lowest values first (%)"},
                "range": [-2, 102],
            },
            "yaxis": {**_AXIS, "title": {"text": "Gain" if gain else "Probability of the class"}},
            "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
            "height": 340,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "hovermode": "closest",
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "uirevision": "keep",
        },
    }


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
            "xaxis": {**_AXIS, "title": {"text": "Reference, in the order of the selection"}},
            "yaxis": {**_AXIS, "title": {"text": "Gain in probability"}, "zeroline": True},
            "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
            "height": 280,
            "bargap": 0.25,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "uirevision": "keep",
        },
    }
