"""Plotly figures of an evaluation: each method's mean with its interval, and how its scores are spread."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from explorer.evaluation.summary import VARIANTS, Column, Row, Summary

# Both stand out from white and from the dark page by more than 3 : 1.
ACCENT = "#3b82c4"
GREY = "#8c8c8c"
_CLEAR = "rgba(0,0,0,0)"
_FILL = {"plain": _CLEAR, "calibrated": "rgba(59,130,196,.5)"}
_OUTLINE = {"plain": 1, "calibrated": 0}
_AXIS = {"gridcolor": "rgba(128,128,128,.22)", "zeroline": False, "fixedrange": True, "automargin": True}
_FONT = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_ROW = 19
_RIDGE = 30
_MARGIN = 58
_BINS = 32


def ranked(summary: Summary, column: Column, methods: Mapping[str, str]) -> list[str]:
    """The methods that were evaluated and controls, best plain mean first; as given where no mean is better."""
    means = {}
    for row in sorted(summary.rows, key=lambda row: -VARIANTS.index(row.variant)):
        means[row.method] = row.scores[column.name].everywhere.mean
    listed = [method for method in methods if method in means]
    if column.better is None:
        return listed
    sign = -1 if column.better == "higher" else 1
    return sorted(listed, key=lambda method: (means[method] is None, sign * (means[method] or 0)))


def dot_plot(summary: Summary, column: Column, methods: Mapping[str, str]) -> dict[str, Any]:
    """Every method's mean in percent with its 95% interval, best at the top.

    Plain maps are hollow and calibrated ones filled; the best method of each, and what is not significantly different
    from it, is coloured. A dotted line marks the baseline.
    """
    order = ranked(summary, column, methods)
    variants = [variant for variant in VARIANTS if any(row.variant == variant for row in summary.rows)]
    traces = []
    for variant in variants:
        rows = [row for row in summary.rows if row.variant == variant and row.method in methods]
        for leading, colour in ((False, GREY), (True, ACCENT)):
            shown = [row for row in rows if _leads(row, column) is leading]
            offset = 0.0 if len(variants) == 1 else {"plain": -0.18, "calibrated": 0.18}[variant]
            traces.append(_dots(shown, column, methods, order, offset, colour, variant))
    [base] = [row for row in summary.rows if (row.method, row.variant) == summary.baseline]
    level = base.scores[column.name].everywhere.mean
    layout = _layout(order, methods, _ROW)
    if level is not None:
        line = {"color": GREY, "width": 1, "dash": "dot"}
        x = _percent(level)
        layout["shapes"] = [
            {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}
        ]
    return {"data": traces, "layout": layout}


def ridgeline(
    table: pd.DataFrame, summary: Summary, column: Column, methods: Mapping[str, str]
) -> dict[str, Any]:
    """How one metric is spread over the pictures: a histogram for each method, all on the same scale."""
    order = ranked(summary, column, methods)
    scores = {
        group: rows.dropna().to_numpy(float)
        for group, rows in table.groupby(["method", "variant"])[column.name]
        if group[0] in methods
    }
    everything = np.concatenate([*scores.values(), np.zeros(0)])
    low, high = (everything.min(), everything.max()) if len(everything) else (0.0, 1.0)
    edges = np.histogram_bin_edges([low, high], _BINS)
    shares = {group: np.histogram(s, edges)[0] / max(len(s), 1) for group, s in scores.items()}
    # The root keeps a heap at 0 or 100% from flattening everything else.
    heights = {group: np.sqrt(share) for group, share in shares.items()}
    tallest = max((float(height.max()) for height in heights.values()), default=1.0) or 1.0
    x = [_percent(edge) for edge in np.repeat(edges, 2).tolist()]
    traces = []
    for position, method in enumerate(order):
        for variant in reversed(VARIANTS):
            if (height := heights.get((method, variant))) is None:
                continue
            top = [round(position - 1.2 * y / tallest, 4) for y in np.repeat(height, 2).tolist()]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": x,
                    "y": [position, *top, position],
                    "fill": "toself",
                    "fillcolor": _FILL[variant],
                    "line": {"width": _OUTLINE[variant], "color": GREY},
                    "hoverinfo": "skip",
                }
            )
    return {"data": traces, "layout": _layout(order, methods, _RIDGE)}


def _leads(row: Row, column: Column) -> bool:
    score = row.scores[column.name]
    return score.best or score.level


def _dots(
    rows: Sequence[Row],
    column: Column,
    methods: Mapping[str, str],
    order: Sequence[str],
    offset: float,
    colour: str,
    variant: str,
) -> dict[str, Any]:
    """The dots of some methods, whose rows are moved by an offset."""
    drawn = [(row, row.scores[column.name].everywhere) for row in rows]
    known = [(row, e.mean, e.low, e.high) for row, e in drawn if e.mean is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_percent(mean) for _, mean, _, _ in known],
        "y": [order.index(row.method) + offset for row, _, _, _ in known],
        "customdata": [html.escape(methods[row.method]) for row, _, _, _ in known],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [_percent((mean if high is None else high) - mean) for _, mean, _, high in known],
            "arrayminus": [_percent(mean - (mean if low is None else low)) for _, mean, low, _ in known],
            "color": colour,
            "thickness": 1.5,
            "width": 0,
        },
        "marker": {
            "size": 7,
            "symbol": "circle",
            "color": colour if variant == "calibrated" else "#fff",
            "line": {"color": colour, "width": 1.5},
        },
        "hovertemplate": f"%{{customdata}}, {variant}: %{{x:.1f}}%<extra></extra>",
    }


def _layout(order: Sequence[str], methods: Mapping[str, str], row: int) -> dict[str, Any]:
    return {
        "xaxis": {**_AXIS, "ticksuffix": "%"},
        "yaxis": {
            **_AXIS,
            "range": [len(order) - 0.4, -1.2],
            "tickvals": list(range(len(order))),
            "ticktext": [html.escape(methods[method]) + "  " for method in order],
            "showgrid": True,
        },
        "font": {"family": _FONT, "size": 12},
        "margin": {"l": 8, "r": 12, "t": 4, "b": 34},
        "height": _MARGIN + row * (len(order) + 1),
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
    }


def _percent(value: float) -> float:
    return round(100 * value, 4)
