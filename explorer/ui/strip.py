"""The figures under each map: which ones, how they compare in a row, and the order of the methods by them."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import get_args

import streamlit as st

from explorer.compute import Figures, Job, State
from explorer.evaluation.summary import TIE, VARIANTS
from explorer.evaluation.tables import ARROWS, percent
from explorer.metrics import DEFAULT_METRICS, METRICS, Kind, Metric
from explorer.ui.view import bound, grouped, one_of, selected

_AS_CHOSEN = "chosen"
_FILLS = {"mean": "mean colour", "black": "black"}
_KINDS = {
    kind: names
    for kind in get_args(Kind)
    if (names := [name for name, one in METRICS.items() if one.kind == kind and not one.needs_objects])
}
_STYLE = """
<style>
.cam-strip { position: relative; font-size: .8125rem; line-height: 1.5; font-variant-numeric: tabular-nums; }
.cam-strip p { margin: 0; font-size: .8125rem; opacity: .8; min-height: 2lh; }
.cam-strip ul { display: flex; flex-wrap: wrap; gap: .15rem .1rem; margin: 0 0 0 -.25rem; padding: 0;
  list-style: none; }
.cam-strip li { margin: 0; padding: 0 .25rem; font-size: .8125rem; border: 1px solid transparent;
  border-radius: .4rem; white-space: nowrap; }
.cam-strip li.best { border-color: currentColor; font-weight: 700; }
.cam-strip li:focus-visible { outline: 2px solid #3b82c4; outline-offset: 1px; }
.cam-strip b { display: inline-block; min-width: 2.6em; text-align: right; font-weight: inherit; }
.cam-strip [role=tooltip] { position: absolute; z-index: 10; left: 0; top: 100%; width: max-content;
  max-width: 100%; padding: .5rem .7rem; border-radius: .4rem; background: #1d242e; color: #fff; font-weight: 400;
  white-space: normal; visibility: hidden; pointer-events: none; }
.cam-strip li:is(:hover, :focus) [role=tooltip] { visibility: visible; }
.cam-strip .aside { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
</style>
"""


@dataclass(frozen=True)
class Chosen:
    """All metrics with their options, and those chosen; how they mask pictures, in words; the variant of the maps that
    is shown; the metric that orders the methods."""

    all: tuple[Metric, ...]
    metrics: tuple[Metric, ...]
    masks: str
    variant: str
    order: Metric | None


@dataclass(frozen=True)
class Strip:
    """The figures of one map.

    Args:
        job: None while the maps of the page are being made.
        best: the metrics by which no other map of the row is better.
    """

    chosen: Chosen
    job: Job[Figures] | None
    best: frozenset[str]

    @property
    def figures(self) -> Figures | None:
        return self.job.result if self.job is not None else None

    def draw(self) -> None:
        """One line for each handful of figures, as high while they are being measured."""
        if not self.chosen.metrics:
            return
        items = "".join(self._item(metric) for metric in self.chosen.metrics)
        st.html(
            f'{_STYLE}<div class="cam-strip"><p>{html.escape(self._head())}</p><ul>{items}</ul></div>',
            width="stretch",
        )

    def _head(self) -> str:
        if self.job is not None and self.job.error is not None:
            return "Not measured"
        if self.figures is None:
            return "Stopped" if self.job is not None and self.job.state is State.STOPPED else "Measuring …"
        if self.chosen.variant == "plain":
            return f"In %, plain map, {self.chosen.masks}"
        return f"In %, calibrated: {self.figures.calibration.cut}% removed, {self.chosen.masks}"

    def _item(self, metric: Metric) -> str:
        value = math.nan if self.figures is None else values(self.figures, self.chosen)[str(metric)]
        text = "–" if math.isnan(value) else percent(value)
        best = metric.name in self.best
        options = f" ({metric.describe()})" if metric.describe() else ""
        way = f"{metric.better} is better" if metric.better else "neither way is better"
        about = f"{metric.title}{options}, {way}: {metric.definition()}"
        return (
            f'<li tabindex="0"{" class=best" if best else ""}>{html.escape(metric.symbol)} <b>{text}</b>'
            f'{ARROWS[metric.better]}<span class="aside">{", best of the row" if best else ""}</span>'
            f'<span role="tooltip">{html.escape(about)}</span></li>'
        )


def figure_controls() -> Chosen:
    """Draws the expander in which figures are chosen."""
    with st.expander("Figures"):
        names = grouped(
            "metrics",
            list(DEFAULT_METRICS),
            _KINDS,
            dict.fromkeys(
                _KINDS, "What is measured of each map; under a map, point at a symbol to read what it means."
            ),
            format_func=lambda name: METRICS[name].symbol,
        )
        variant = bound(
            st.radio,
            "figures",
            VARIANTS[0],
            one_of(VARIANTS),
            label="Measured map",
            options=VARIANTS,
            format_func=str.capitalize,
            horizontal=True,
            help="The map as it is, or cut where its calibration recommends.",
        )
        options = {name: _option(name) for name in ("fill", "mask")}
        orders = [_AS_CHOSEN, *(name for name in names if METRICS[name].better)]
        order = selected(
            "order",
            _AS_CHOSEN,
            orders,
            label="Order of methods",
            format_func=lambda name: (
                "As chosen" if name == _AS_CHOSEN else f"Best {METRICS[name].title} first"
            ),
            help="By the mean over the pictures that are measured.",
        )
    configured = {name: _configured(metric, options) for name, metric in METRICS.items()}
    return Chosen(
        tuple(configured.values()),
        tuple(configured[name] for name in names),
        f"{_FILLS[options['fill']]}, {options['mask']} mask",
        variant,
        None if order == _AS_CHOSEN else configured[order],
    )


def values(figures: Figures, chosen: Chosen) -> dict[str, float]:
    """The figures of the variant that is shown, by metric."""
    return figures.plain if chosen.variant == "plain" else figures.calibrated


def best(several: Mapping[str, Figures], chosen: Chosen) -> dict[str, frozenset[str]]:
    """By method, the metrics by which no other map of the picture is better, of those in which the maps differ."""
    leading: dict[str, set[str]] = {method: set() for method in several}
    for metric in chosen.metrics:
        known = {method: values(figures, chosen)[str(metric)] for method, figures in several.items()}
        known = {method: value for method, value in known.items() if not math.isnan(value)}
        if metric.better and known and max(known.values()) - min(known.values()) > TIE:
            top = max(known.values()) if metric.better == "higher" else min(known.values())
            for method, value in known.items():
                if abs(value - top) <= TIE:
                    leading[method].add(metric.name)
    return {method: frozenset(metrics) for method, metrics in leading.items()}


def ordered(methods: Sequence[str], pictures: Sequence[Mapping[str, Figures]], chosen: Chosen) -> list[str]:
    """The methods, best mean first where they are to be ordered by a metric; those without a mean come last.

    Args:
        pictures: for each picture that is measured, the figures by method.
    """
    metric = chosen.order
    if metric is None:
        return list(methods)
    sign = -1 if metric.better == "higher" else 1

    def place(method: str) -> float:
        known = [values(figures[method], chosen)[str(metric)] for figures in pictures if method in figures]
        mean = sum(known) / len(known) if known else math.nan
        return math.inf if math.isnan(mean) else sign * mean

    return sorted(methods, key=place)


def _option(name: str) -> str:
    """A widget for an option that several metrics declare alike."""
    [declared] = [item for item in fields(METRICS["average-drop"]) if item.name == name]
    choices = declared.metadata["choices"]
    return str(
        bound(
            st.radio,
            name,
            declared.default,
            one_of(choices),
            label=declared.metadata["label"].capitalize(),
            options=choices,
            horizontal=True,
            help=declared.metadata["help"],
        )
    )


def _configured(metric: type[Metric], options: Mapping[str, str]) -> Metric:
    """The metric with those of the options that it has."""
    return metric(**{item.name: options[item.name] for item in fields(metric) if item.name in options})
