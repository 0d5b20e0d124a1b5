"""The Evaluate page: the chosen methods measured over many pictures, and evaluations made before."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.backbones import Layer, layer_called
from explorer.compute import BACKGROUND, Engine, Job
from explorer.declaration import parse
from explorer.errors import ExplorerError
from explorer.evaluation import Configuration, Pace, Summary, describe, evaluate, passes, shelf
from explorer.evaluation.shelf import Kept, Source
from explorer.evaluation.summary import VARIANTS, Column, Row, Score, outdoing
from explorer.evaluation.tables import heading, outdone, percent, spread
from explorer.methods import find as find_method
from explorer.metrics import Metric
from explorer.metrics import find as find_metric
from explorer.render.figures import dot_plot
from explorer.render.results import write_results
from explorer.ui import command
from explorer.ui.board import Board
from explorer.ui.cells import CHART, plain
from explorer.ui.lasting import just_made, start, start_and_stop
from explorer.ui.live import follow, report, status_line
from explorer.ui.pictures import PAGE, find, pick
from explorer.ui.sidebar import Choice, beside_controls
from explorer.ui.state import service, waiter
from explorer.ui.view import bound, one_of, selected, toggled, turn, view

_NONE = "none"
_FILES = {
    "report.html": ("text/html", "Tables and charts on one page, to read and to pass on."),
    "pictures.csv": ("text/csv", "Every figure of every picture, for a spreadsheet."),
    "pictures.parquet": ("application/vnd.apache.parquet", "The same for pandas and its kin."),
    "summary.json": ("application/json", "Means, intervals, tests, and what everything was made of."),
}
_REPORT = 900  # pixels
_STYLE = """
<style>
.cam-table { overflow-x: auto; }
.cam-table table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
.cam-table :is(th, td) { padding: .3rem .6rem; border: 0; border-bottom: 1px solid rgba(128,128,128,.35);
  text-align: right; white-space: nowrap; }
.cam-table th { font-weight: 600; }
.cam-table tr > :first-child { text-align: left; padding-left: 0; font-weight: 400; position: sticky; left: 0;
  background: light-dark(#fff, #12171e); }
.cam-table td span { display: inline-block; padding: 0 .3rem; border: 1px solid transparent; border-radius: .4rem; }
.cam-table td.best span { border-color: currentColor; font-weight: 700; }
.cam-table td.level span { text-decoration: underline; text-underline-offset: 3px; }
.cam-table small { opacity: .8; }
</style>
"""


def show(choice: Choice) -> None:
    """Draws the page."""
    board = Board()
    if made := just_made("evaluation"):
        turn("evaluation", made)
    st.subheader("Evaluate over many pictures", anchor=False)
    st.caption(
        "Measures the maps of the methods chosen in the sidebar over a set of pictures, plain and calibrated, and "
        "says how sure the differences between methods are."
    )
    columns = st.columns(4)
    with columns[0]:
        job = find(pick("data"), "data", choice)
    layers = board.watch(choice.layers())
    if choice.undefined is not None:
        board.watch(choice.undefined)
    source, pixels = (board.watch(job).result or (None, 0)) if job is not None else (None, 0)
    configuration, baseline = _configuration(choice, source, columns[1:])
    report(board, choice, pictures=view().values.get("data") == PAGE)
    if not configuration.metrics:
        st.info('No figure is chosen: choose some under "Figures" in the sidebar, or all here.')
    ready = source is not None and bool(layers.result and configuration.methods and configuration.metrics)
    if source is not None and layers.result and ready:
        _cost(source, configuration, layers.result, pixels)
    _buttons(choice, source if ready else None, configuration, baseline)
    line = status_line()
    _results()
    follow(board, line)


def _configuration(
    choice: Choice, source: Source | None, columns: Sequence[DeltaGenerator]
) -> tuple[Configuration, str]:
    """What is to be measured, and the method with which all others are compared."""
    undefined = (choice.undefined.result if choice.undefined else None) or {}
    methods = tuple(method for method in choice.methods if method.name not in undefined)
    entries = source.entries if source is not None else ()
    located = any(entry.boxes or entry.mask for entry in entries)
    labelled = any(entry.labels for entry in entries)
    with columns[0]:
        measured = bound(
            st.radio,
            "measured",
            "chosen",
            one_of(("chosen", "all")),
            label="Figures",
            options=["chosen", "all"],
            format_func=lambda name: "Chosen in the sidebar" if name == "chosen" else "All",
            help="All takes much longer; those of localisation are among them where boxes tell where objects are.",
        )
        methods = beside_controls(methods) if methods else methods
    with columns[1]:
        classes = bound(
            st.radio,
            "classes",
            "predicted",
            one_of(("predicted", "given")),
            label="Explained class",
            options=["predicted", "given"],
            format_func=lambda name: "The predicted one" if name == "predicted" else "The given one",
            disabled=not labelled,
            help="What the network predicts, or the label of the picture, where there are labels.",
        )
    with columns[2]:
        titles = {method.name: method.title for method in methods} or {"grad-cam": "Grad-CAM"}
        baseline = selected(
            "baseline",
            "grad-cam" if "grad-cam" in titles else next(iter(titles)),
            list(titles),
            label="Baseline",
            format_func=lambda name: titles[name],
            help="The method with whose plain maps all others are compared.",
        )
    request, figures = choice.request, choice.figures
    every = tuple(metric for metric in figures.all if located or not metric.needs_objects)
    configuration = Configuration(
        request.backbone,
        request.layer,
        methods,
        every if measured == "all" else figures.metrics,
        classes if labelled else "predicted",
        request.library,
        request.rule,
        request.seed,
        request.limit,
    )
    return configuration, next((str(method) for method in methods if method.name == baseline), baseline)


def _cost(source: Source, configuration: Configuration, layers: Sequence[Layer], pixels: int) -> None:
    """What an evaluation will measure, and what that takes."""
    layer = layer_called(layers, configuration.layer)
    pictures, methods = len(source.entries), len(configuration.methods)
    needed = float(f"{pictures * passes(configuration, layer, pixels):.2g}")
    st.markdown(
        f"**{_counted(pictures, 'picture')} x {_counted(methods, 'method')}, about {needed:,.0f} forward passes** of "
        f"{plain(configuration.backbone)} at layer {plain(layer.name)}"
    )
    titles = ", ".join(method.title for method in configuration.methods)
    symbols = _symbols(configuration.metrics)
    st.caption(plain(f"{titles}; {symbols}; each map plain and calibrated in ten levels, in full precision."))


def _buttons(choice: Choice, source: Source | None, configuration: Configuration, baseline: str) -> None:
    def run() -> None:
        assert source is not None
        _run(choice, source, configuration, baseline)

    start_and_stop(
        "evaluation",
        source is not None,
        ("Run", "Stop"),
        (
            "Goes on where the same evaluation was stopped; you may look at other pages meanwhile.",
            "What is measured is kept: Run goes on from there.",
        ),
        run,
    )


def _run(choice: Choice, source: Source, configuration: Configuration, baseline: str) -> None:
    """Starts an evaluation; one that has failed before is tried again."""
    paths = {entry.path for entry in source.entries}
    uploads = [one.data for one in choice.uploads if shelf.picture_path(one.data) in paths]

    def work(engine: Engine, job: Job[str]) -> str:
        for data in uploads:
            shelf.keep_picture(data)
        description = describe(engine, source.entries, configuration)
        folder = shelf.journal_folder(source, description)
        pace, within = Pace(), _Within(job)

        def progress(done: int, total: int) -> None:
            job.begin(", ".join(filter(None, ["Evaluating pictures", pace(done, total)])), total)
            job.advance(done)

        outcome = evaluate(engine, source.entries, configuration, folder, progress, 0, within)
        job.begin("Writing the report")
        results = folder / baseline
        results.mkdir(exist_ok=True)
        write_results(engine, source.entries, configuration, outcome, baseline, results, within)
        return shelf.keep(results, source, baseline, description).identifier

    key = ("evaluation", source.identity, configuration, baseline)

    start("evaluation", lambda: service().run(key, work, waiter(), priority=BACKGROUND))


class _Within:
    """Lets more urgent work interrupt that on one picture, and leaves the count of pictures as it is."""

    def __init__(self, job: Job[str]) -> None:
        self._job = job

    def begin(self, stage: str, total: int = 0) -> None:
        self._job.advance(0)

    def advance(self, steps: int) -> None:
        self._job.advance(0)

    passed = advance


def _results() -> None:
    """One of the evaluations that are kept."""
    known = {one.identifier: one for one in shelf.kept() if _is_known(one)}
    st.subheader("Results", anchor=False)
    chosen = selected(
        "evaluation",
        _NONE,
        [_NONE, *known],
        label="Evaluation",
        format_func=lambda name: _title(known[name]) if name in known else "Choose one",
        help="Those made on this server, the newest first.",
        disabled=not known,
    )
    if not known:
        st.caption("No evaluation has been made on this server yet.")
    if chosen != _NONE:
        _result(known[chosen])


def _is_known(one: Kept) -> bool:
    """Whether what was measured is still registered: a method of the operator's own may have gone."""
    try:
        for kind, find in (("methods", find_method), ("metrics", find_metric)):
            for text in one.evaluation[kind]:
                parse(text, find)
    except ExplorerError:
        return False
    return True


def _methods(one: Kept) -> dict[str, str]:
    """The titles of the methods of an evaluation."""
    methods = [parse(text, find_method) for text in one.evaluation["methods"]]
    return {str(method): method.title + method.qualifier for method in methods}


def _title(one: Kept) -> str:
    about = one.evaluation
    methods = ", ".join(_methods(one).values())
    symbols = _symbols(parse(text, find_metric) for text in about["metrics"])
    pictures = _counted(about["pictures"], "picture")
    given = "; given classes" if about["classes"] == "given" else ""
    return (
        f"{one.name}: {pictures}; {methods}; {symbols}{given}; {about['backbone']}; {one.made:%d %b %Y %H:%M}"
    )


def _result(one: Kept) -> None:
    document, summary = _summary(one.folder / "summary.json", one.made)
    methods = _methods(one)
    variant = bound(
        st.radio,
        "table",
        VARIANTS[0],
        one_of(VARIANTS),
        label="Maps",
        options=VARIANTS,
        format_func=str.capitalize,
        horizontal=True,
        help="The maps as they are, or cut where each one's calibration recommends.",
    )
    rows = {row.method: row for row in summary.rows if row.variant == variant}
    st.html(_table(summary.columns, rows, methods, variant))
    ahead = [column.title for column in summary.columns if outdoing(rows.values(), column)]
    st.caption(
        f"Means over {_counted(summary.pictures, 'picture')} in %, ± half the width of the 95% interval. The best "
        "method is framed; what does not differ from it significantly is underlined; controls are neither. Blank maps "
        f"count as maps that keep nothing. {outdone(ahead)}"
    )
    if left_out := document["left_out"]:
        with st.expander(f"{_counted(len(left_out), 'picture')} left out"):
            st.markdown("\n".join(f"- {plain(reason)}" for reason in left_out))
    titles = {column.name: column.title for column in summary.columns}
    name = selected(
        "plot",
        next(iter(titles)),
        list(titles),
        label="Drawn figure",
        format_func=lambda name: titles[name],
        help="Hollow dots are plain maps, filled ones calibrated; those in blue are the best method or level with it; "
        "the dotted line is the baseline.",
    )
    column = next(column for column in summary.columns if column.name == name)
    st.plotly_chart(
        dot_plot(summary, column, methods),
        key=f"dots {name}",
        config=CHART,
        alt=f"{column.title} of each method, plain and calibrated, with its 95% interval",
    )
    whole = toggled(
        "report",
        label="Show the report",
        help="The differences from the baseline and how sure they are, histograms, best and worst pictures, every "
        "number.",
    )
    if whole:
        st.iframe(one.folder / "report.html", height=_REPORT, alt="The report of this evaluation")
    popover = st.popover(
        "Download",
        key="download evaluation",
        on_change="rerun",
        help="The report, the tables and what made them.",
    )
    if popover.open:
        for file, (kind, explained) in _FILES.items():
            content = (one.folder / file).read_bytes()
            popover.download_button(
                file, content, file, kind, key=file, on_click="ignore", width="stretch", help=explained
            )
    _shell(one)


def _shell(one: Kept) -> None:
    """The same in the shell."""
    st.caption("The same in the shell, where photos is a folder of these pictures:")
    st.code(command.evaluate(one, "photos"), language=None, wrap_lines=True)


@lru_cache(maxsize=8)
def _summary(path: Path, made: datetime) -> tuple[dict[str, Any], Summary]:
    """What ``write_results`` wrote then."""
    document = json.loads(path.read_text("utf-8"))
    return document, Summary.from_dict(document)


def _table(
    columns: Sequence[Column], rows: Mapping[str, Row], methods: Mapping[str, str], variant: str
) -> str:
    """The means of one variant, a row for each method."""
    head = "".join(
        f'<th scope="col" title="{html.escape(column.title)}">{html.escape(heading(column))}</th>'
        for column in columns
    )
    lines = "".join(
        f'<tr><th scope="row">{html.escape(title)}</th>'
        + "".join(_cell(rows[method].scores[column.name]) for column in columns)
        + f"<td>{rows[method].blank}</td></tr>"
        for method, title in methods.items()
    )
    return (
        f'{_STYLE}<div class="cam-table" tabindex="0" role="region" aria-label="Means of {variant} maps"><table>'
        f'<thead><tr><th scope="col">Method</th>{head}<th scope="col">Blank</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cell(score: Score) -> str:
    mean = score.everywhere.mean
    text = "–" if mean is None else percent(mean)
    style = "best" if score.best else "level" if score.level else ""
    return f'<td class="{style}"><span>{text}</span> <small>{spread(score)}</small></td>'


def _symbols(metrics: Iterable[Metric]) -> str:
    return ", ".join(metric.symbol + metric.qualifier for metric in metrics)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
