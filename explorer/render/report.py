"""An evaluation as one HTML file that needs nothing else: no server, no network, no second file."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from explorer.evaluation.summary import (
    LEVEL,
    VARIANTS,
    Column,
    Comparison,
    Estimate,
    Row,
    Score,
    Summary,
    outdoing,
)
from explorer.evaluation.tables import ARROWS, heading, percent, spread
from explorer.render.figures import ACCENT, GREY, dot_plot, ridgeline

Example = tuple[str, bytes, bool]
"""Caption, JPEG, and whether it is one of the best rather than of the worst."""

_HERE = Path(__file__).parent
_NONE = "–"
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
_NAMED = 3


def report(
    summary: Summary,
    table: pd.DataFrame,
    methods: Mapping[str, str],
    about: Mapping[str, str],
    pictures: Mapping[tuple[str, str], Sequence[Example]],
) -> str:
    """The evaluation for a reader: who is best by which metric, how sure that is, and how to make it again.

    The same input gives the same bytes.

    Args:
        table: the scores that the summary is of.
        methods: titles by registered name, in the order of the tables.
        about: what was evaluated, by heading: backbone, layer, weights, data set, choice of class and so on.
        pictures: the best and worst maps of a method and variant.
    """
    variants = [variant for variant in VARIANTS if any(row.variant == variant for row in summary.rows)]
    rows = {
        variant: [
            row
            for method in methods
            for row in summary.rows
            if (row.method, row.variant) == (method, variant)
        ]
        for variant in variants
    }
    base = f"{methods[summary.baseline[0]]}, {summary.baseline[1]}"
    spreads = {}
    for column in summary.columns:
        if column.name in table.columns:
            figure = ridgeline(table, summary, column, methods)
            spreads[column.name] = {**figure, "label": f"Histograms of {column.title} for each method"}
    dots = {f"dots-{column.name}": dot_plot(summary, column, methods) for column in summary.columns}
    things = ((len(methods), "method"), (summary.photographs, "picture"), (len(summary.columns), "metric"))
    compared = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in things)
    sections = [
        ("Best by each metric", _metrics(summary, rows, methods)),
        ("Scores", _scores(summary, rows, methods)),
        ("Means and intervals", _means(summary, rows, methods, base)),
        ("Spread", _spread([column for column in summary.columns if column.name in spreads])),
        (f"Against {base}", _differences(summary, rows, methods, base)),
        ("Best and worst pictures", _examples(methods, variants, pictures)),
        ("Every number", _numbers(summary, rows, methods, base)),
    ]
    links = "".join(f'<a href="#part-{i}">{_text(name)}</a>' for i, (name, _) in enumerate(sections) if _)
    body = "".join(
        f'<section><h2 id="part-{i}">{_text(name)}</h2>{content}</section>'
        for i, (name, content) in enumerate(sections)
        if content
    )
    facts = "".join(
        f"<div><dt>{_text(key)}</dt><dd>{_text(value)}</dd></div>" for key, value in about.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation of {compared}</title>"
        f"<style>{(_HERE / 'report.css').read_text('utf-8')}</style></head>"
        f'<body><header><h1>Evaluation of attribution methods</h1><p class="soft">{compared}</p></header>'
        f'<main><dl>{facts}</dl><nav aria-label="Parts">{links}</nav>{body}</main>'
        f"<script>{get_plotlyjs()}</script>"
        f'<script type="application/json" id="figures">{_json({"dots": dots, "spreads": spreads})}</script>'
        f"<script>{(_HERE / 'report.js').read_text('utf-8')}</script></body></html>\n"
    )


def _metrics(summary: Summary, rows: Mapping[str, Sequence[Row]], methods: Mapping[str, str]) -> str:
    """Every metric with its definition and who is best."""
    head = "".join(f'<th scope="col">Best {variant} map</th>' for variant in rows)
    lines = []
    for column in summary.columns:
        counts = {row.scores[column.name].everywhere.n for group in rows.values() for row in group}
        n = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{min(counts)}"
        way = f"{column.better} is better" if column.better else "describes only"
        winners = "".join(
            f'<td class="best-of">{_winner(column, group, methods)}</td>' for group in rows.values()
        )
        lines.append(
            f'<tr><th scope="row"><b>{_text(column.title)}</b> ({_text(heading(column)).replace(" ", "&nbsp;")})'
            f'<small class="note">{way}; {n} pictures; {_text(column.definition)}</small></th>{winners}</tr>'
        )
    return (
        "<p>The best mean of each metric in percent, with half the width of its 95% interval, and the methods "
        "that do not differ from it significantly. Controls, which look at no network, are what a method must beat: "
        "they are never the best. Calibration chooses each map's cut by the very probability, with "
        "the rest on the mean colour, that most metrics measure: compare plain maps with plain ones, and calibrated "
        "with calibrated ones.</p>"
        f'<div class="wide" tabindex="0" role="region" aria-label="Metrics"><table class="metrics">'
        "<caption>Metrics and their best methods</caption><thead><tr>"
        f'<th scope="col">Metric</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _winner(column: Column, rows: Sequence[Row], methods: Mapping[str, str]) -> str:
    best = [row for row in rows if row.scores[column.name].best]
    if not best:
        return _NONE
    level = [methods[row.method] for row in rows if row.scores[column.name].level]
    worse = [row.scores[column.name].p_best for row in rows if (row.scores[column.name].rank or 0) > 1]
    names = ", ".join(methods[row.method] for row in best)
    notes = []
    if level:
        others = ", ".join(level[:_NAMED]) + (
            f" and {len(level) - _NAMED} more" if len(level) > _NAMED else ""
        )
        notes.append(f"not significantly different: {others}")
    elif worse and None not in worse:
        notes.append("significantly better than all other methods")
    if ahead := [methods[row.method] for row in outdoing(rows, column)]:
        notes.append(f"a control has a better mean: {', '.join(ahead)}")
    told = "".join(f'<small class="note">{_text(note)}</small>' for note in notes)
    return f"<b>{_text(names)}</b> {_mean(best[0].scores[column.name])}{told}"


def _scores(summary: Summary, rows: Mapping[str, Sequence[Row]], methods: Mapping[str, str]) -> str:
    """A table of means for each variant."""
    head = "".join(_sortable(heading(column), column.better, column.title) for column in summary.columns)
    tables = []
    for variant, group in rows.items():
        lines = "".join(
            f'<tr><th scope="row">{_text(methods[row.method])}</th>'
            + "".join(_score(row.scores[column.name]) for column in summary.columns)
            + f'<td data-value="{row.blank}">{row.blank}</td></tr>'
            for row in group
        )
        tables.append(
            _matrix(
                f"{variant.capitalize()} maps",
                head + _sortable("Blank", "lower", "Blank maps"),
                lines,
            )
        )
    return (
        "<p>Means in percent, ± half the width of the 95% interval. The best method of each kind is "
        '<span class="best">on colour</span>; what does not differ from it significantly is '
        '<span class="level"><span>underlined</span></span>; controls are neither. A click on a header sorts.</p>'
        + "".join(tables)
    )


def _score(score: Score) -> str:
    mean = score.everywhere.mean
    style = "best" if score.best else "level" if score.level else ""
    return f'<td class="{style}" data-value="{"" if mean is None else repr(mean)}">{_mean(score)}</td>'


def _mean(score: Score) -> str:
    mean = score.everywhere.mean
    return _NONE if mean is None else f"<span>{percent(mean)}</span> <small>{spread(score)}</small>"


def _means(summary: Summary, rows: Mapping[str, Sequence[Row]], methods: Mapping[str, str], base: str) -> str:
    """A dot plot for each metric."""
    figures = []
    for column in summary.columns:
        leaders = [
            f"best {variant}: {methods[row.method]} {percent(row.scores[column.name].everywhere.mean or 0)}%"
            for variant, group in rows.items()
            for row in group
            if row.scores[column.name].best
        ]
        label = "; ".join([f"{column.title} of each method", *leaders])
        figures.append(
            f"<figure><figcaption><b>{_text(column.title)}</b>{ARROWS[column.better]} "
            f'<small>{_text(column.symbol)}</small></figcaption><div class="chart" id="dots-{_text(column.name)}" '
            f'role="img" aria-label="{_text(label)}"></div></figure>'
        )
    marks = [
        (_dot("none", "currentColor"), "plain"),
        (_dot("currentColor", "currentColor"), "calibrated"),
        (_dot(ACCENT, ACCENT), "best method of its kind, or not significantly different from it"),
        (_dot(GREY, GREY), "the others"),
    ]
    key = "".join(f"<li>{mark}{text}</li>" for mark, text in marks)
    return (
        "<p>Means with 95% intervals, in the order of plain maps. The dotted line is the baseline, "
        f"{_text(base)}. The tables above and below hold the same numbers.</p>"
        f'<ul class="key">{key}</ul><div class="charts">{"".join(figures)}</div>'
    )


def _dot(fill: str, line: str) -> str:
    return (
        '<svg width="14" height="14" aria-hidden="true"><circle cx="7" cy="7" r="4.5" stroke-width="2" '
        f'fill="{fill}" stroke="{line}"/></svg>'
    )


def _spread(columns: Sequence[Column]) -> str:
    """Histograms of the metric that the reader chooses."""
    options = "".join(f'<option value="{_text(c.name)}">{_text(c.title)}</option>' for c in columns)
    return (
        "<p>How the scores are spread over the pictures: a histogram for each method, plain maps as grey outlines, "
        "calibrated maps filled. Heights are roots of shares, on one scale for all methods.</p>"
        f'<p><label>Metric <select id="metric">{options}</select></label></p>'
        '<div class="chart" id="spread" role="img"></div>'
    )


def _differences(
    summary: Summary, rows: Mapping[str, Sequence[Row]], methods: Mapping[str, str], base: str
) -> str:
    """Differences from the baseline with their p values."""
    head = "".join(_sortable(heading(column), column.better, column.title) for column in summary.columns)
    tables = []
    for variant, group in rows.items():
        lines = "".join(
            f'<tr><th scope="row">{_text(methods[row.method])}</th>'
            + "".join(_difference(row.scores[c.name].against, c) for c in summary.columns)
            + "</tr>"
            for row in group
        )
        tables.append(_matrix(f"{variant.capitalize()} maps less {base}", head, lines, "matrix stacked"))
    return (
        "<p>Mean differences on the same pictures in percentage points, and below them p. "
        '<span class="better">▲</span> is significantly better and <span class="worse">▼</span> significantly worse '
        f"(p below {LEVEL}). p is that of a two-sided paired permutation test of this difference, corrected for the "
        "number of methods in the table (Holm). Intervals are percentiles of "
        f"{summary.resamples} bootstrap resamples of the "
        f"pictures (seed {summary.seed}), the same for every method and metric.</p>" + "".join(tables)
    )


def _difference(against: Comparison | None, column: Column) -> str:
    if against is None or against.difference is None or against.p is None:
        return f'<td data-value="">{_NONE}</td>'
    mark, style = "", "" if against.p < LEVEL else "soft"
    if against.p < LEVEL and column.better:
        better = (against.difference > 0) is (column.better == "higher")
        word, sign = ("better", "▲") if better else ("worse", "▼")
        mark = f'<span class="{word}" aria-hidden="true">{sign}</span><span class="aside">{word}</span> '
    return (
        f'<td class="{style}" data-value="{against.difference!r}">{mark}{_signed(against.difference)} '
        f"<small>{_p(against.p)}</small></td>"
    )


def _examples(
    methods: Mapping[str, str],
    variants: Sequence[str],
    pictures: Mapping[tuple[str, str], Sequence[Example]],
) -> str:
    """Best and worst pictures, folded up by method."""
    folds: list[str] = []
    for method, title in methods.items():
        parts = []
        for variant in variants:
            for wanted, kind in ((True, "Best"), (False, "Worst")):
                shown = [(c, jpeg) for c, jpeg, best in pictures.get((method, variant), ()) if best is wanted]
                if shown:
                    figures = "".join(_picture(caption, jpeg) for caption, jpeg in shown)
                    parts.append(
                        f'<div><h3>{kind}, {variant}</h3><div class="pictures">{figures}</div></div>'
                    )
        if parts:
            opened = "" if folds else " open"
            folds.append(
                f"<details{opened}><summary>{_text(title)}</summary>"
                f'<div class="kinds">{"".join(parts)}</div></details>'
            )
    return "".join(folds)


def _picture(caption: str, jpeg: bytes) -> str:
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
    return f'<figure><img src="{source}" alt="{_text(caption)}"><figcaption>{_text(caption)}</figcaption></figure>'


def _numbers(
    summary: Summary, rows: Mapping[str, Sequence[Row]], methods: Mapping[str, str], base: str
) -> str:
    """A table for each metric with everything that the summary knows."""
    names = ["Map", "n", "Mean", "Deviation", "95% interval", "Rank"]
    names += [] if summary.correct is None else ["Correct only", "95% interval"]
    names += ["Difference", "95% interval", "p", "Won", "Tied", "Lost"]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    folds = []
    for column in summary.columns:
        lines = "".join(
            f'<tr><th scope="row">{_text(methods[row.method])}</th>{_line(row.variant, row.scores[column.name])}</tr>'
            for group in rows.values()
            for row in group
        )
        body = _matrix(f"{column.title}: {column.definition}", head, lines)
        folds.append(
            f"<details><summary>{_text(column.title)} ({_text(heading(column))})</summary>{body}</details>"
        )
    correct = (
        ""
        if summary.correct is None
        else f" Correct only: the {summary.correct} pictures whose class is hit."
    )
    return (
        "<p>In percent, by metric. Ranks are among maps of the same kind, controls have none; differences are those "
        f"from {_text(base)}, on the pictures that both have a score for.{correct}</p>{''.join(folds)}"
    )


def _line(variant: str, score: Score) -> str:
    e = score.everywhere
    cells = [variant, e.n, _value(e.mean), _value(e.deviation), _interval(e), _count(score.rank)]
    if score.correct is not None:
        cells += [_value(score.correct.mean), _interval(score.correct)]
    if (a := score.against) is None:
        cells += [_NONE] * 6
    else:
        difference = _NONE if a.difference is None else _signed(a.difference)
        p = _NONE if a.p is None else _p(a.p)
        cells += [difference, _interval(a), p, _count(a.won), _count(a.tied), _count(a.lost)]
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _matrix(caption: str, head: str, lines: str, style: str = "matrix") -> str:
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{_text(caption)}"><table class="{style}">'
        f"<caption><span>{_text(caption)}</span></caption>"
        f'<thead><tr><th scope="col">Method</th>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _sortable(text: str, better: str | None, title: str) -> str:
    """A header that sorts by its column, best first."""
    first = "ascending" if better == "lower" else "descending"
    return f'<th scope="col" data-first="{first}"><button title="{_text(title)}">{_text(text)}</button></th>'


def _signed(value: float) -> str:
    text = percent(value)
    return text if text[0] == "−" else f"+{text}"


def _p(p: float) -> str:
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def _value(value: float | None) -> str:
    return _NONE if value is None else percent(value)


def _count(value: int | None) -> str:
    return _NONE if value is None else str(value)


def _interval(of: Estimate | Comparison) -> str:
    return _NONE if of.low is None or of.high is None else f"{percent(of.low)} to {percent(of.high)}"


def _text(text: str) -> str:
    return html.escape(text)


def _json(document: Any) -> str:
    """JSON that no text in it can end the script element of."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
