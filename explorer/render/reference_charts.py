"""Plotly figures of the references of a Libra-CAM map, as plain dictionaries."""

import math
from collections.abc import Sequence
from typing import Any

from explorer.convergence import Spread
from explorer.render.charts import AXIS, GREY, LAYOUT, PALETTE

_KEPT, _REJECTED = PALETTE[2], GREY


def gains_chart(
    gains: Sequence[float], kept: Sequence[bool], marks: Sequence[tuple[str, float]]
) -> dict[str, Any]:
    """How many references have which gain, kept ones and rejected ones in different colours.

    Args:
        gains: one at least, all finite.
        marks: (name, gain) of lines, the lowest first.
    """
    width = (max(gains) - min(gains) or 1.0) / 20
    bins = {"start": min(gains) - width / 2, "end": max(gains) + width, "size": width}
    traces = [
        {
            "type": "histogram",
            "name": name,
            "x": [gain for gain, keep in zip(gains, kept, strict=True) if keep is wanted],
            "xbins": bins,
            "autobinx": False,
            "marker": {"color": colour},
            "hovertemplate": "gain %{x}: %{y}<extra>" + name + "</extra>",
        }
        for wanted, name, colour in ((True, "kept", _KEPT), (False, "rejected", _REJECTED))
    ]
    return {
        "data": traces,
        "layout": {
            **LAYOUT,
            "margin": {**LAYOUT["margin"], "t": 56},
            "legend": {"orientation": "h", "y": -0.3, "yanchor": "top", "x": 0},
            "barmode": "stack",
            "bargap": 0.08,
            "xaxis": {**AXIS, "title": {"text": "Gain in probability"}},
            "yaxis": {**AXIS, "title": {"text": "References"}},
            "shapes": [_line(value) for _, value in marks],
            "annotations": [
                _name(f"{name} {value:.3f}", value, 1 + 0.11 * place)
                for place, (name, value) in enumerate(marks)
            ],
            "height": 320,
        },
    }


def differences_chart(
    predicted: Sequence[float], true: Sequence[float], kept: Sequence[bool], names: Sequence[str]
) -> dict[str, Any]:
    """Each reference's predicted difference of the class score against the true one, with the line of equality."""
    ends = [min([*predicted, *true], default=0.0), max([*predicted, *true], default=1.0)]
    margin = 0.05 * (ends[1] - ends[0] or 1.0)
    ends = [ends[0] - margin, ends[1] + margin]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "prediction is right",
            "x": ends,
            "y": ends,
            "line": {"color": GREY, "width": 1},
            "hoverinfo": "skip",
        }
    ]
    for wanted, name, colour, symbol in (
        (True, "kept", _KEPT, "circle"),
        (False, "rejected", _REJECTED, "x"),
    ):
        chosen = [place for place, keep in enumerate(kept) if keep is wanted]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [true[place] for place in chosen],
                "y": [predicted[place] for place in chosen],
                "customdata": [names[place] for place in chosen],
                "marker": {"color": colour, "size": 8, "symbol": symbol},
                "hovertemplate": "%{customdata}: true %{x:.2f}, predicted %{y:.2f}<extra></extra>",
            }
        )
    return {
        "data": traces,
        "layout": {
            **LAYOUT,
            "xaxis": {**AXIS, "title": {"text": "True difference of the class score"}},
            "yaxis": {**AXIS, "title": {"text": "Predicted difference"}},
            "height": 380,
            "hovermode": "closest",
        },
    }


def growth_chart(
    spread: Spread, title: str, mark: int | None = None, *, level: float | None = None
) -> dict[str, Any]:
    """A figure against the library size on a logarithmic axis: the mean over the orders, and a band from the lowest to
    the highest.

    Args:
        mark: a size that is marked as enough; level: a value that is marked.
    """
    sizes = list(spread.sizes)
    band = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
    shapes = [] if mark is None else [_line(mark)]
    if level is not None:
        shapes.append(
            {**_line(level), "x0": 0, "x1": 1, "xref": "paper", "y0": level, "y1": level, "yref": "y"}
        )
    return {
        "data": [
            {"type": "scatter", "x": sizes, "y": [min(several) for several in spread.values], **band},
            {
                "type": "scatter",
                "x": sizes,
                "y": [max(several) for several in spread.values],
                **band,
                "fill": "tonexty",
                "fillcolor": "rgba(0,114,178,.2)",
            },
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": title,
                "x": sizes,
                "y": list(spread.means),
                "line": {"color": PALETTE[0], "width": 2},
                "hovertemplate": "%{x} references: %{y:.3f}<extra></extra>",
            },
        ],
        "layout": {
            **LAYOUT,
            "margin": {**LAYOUT["margin"], "t": 24},
            "showlegend": False,
            "shapes": shapes,
            "annotations": [] if mark is None else [_name("enough", math.log10(mark))],
            "xaxis": {
                **AXIS,
                "type": "log",
                "title": {"text": "References"},
                "tickvals": sizes,
                "ticktext": [str(size) for size in sizes],
            },
            "yaxis": {**AXIS, "title": {"text": title}},
            "height": 300,
        },
    }


def _line(x: float) -> dict[str, Any]:
    style = {"color": PALETTE[4], "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": style}


def _name(text: str, x: float, y: float = 1.0) -> dict[str, Any]:
    """What a line is called, above it; Plotly takes the place on a logarithmic axis as an exponent of 10."""
    return {"x": x, "y": y, "yref": "paper", "yanchor": "bottom", "text": text, "showarrow": False}
