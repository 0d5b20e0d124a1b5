"""The Faithfulness page: what the metrics say of the maps of one picture, and how far the maps agree."""

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from explorer.compute import Explanation
from explorer.evaluation.tables import ARROWS, outdone
from explorer.methods import UndefinedMethodError
from explorer.metrics import Deletion, Insertion, Metric, Steps
from explorer.render.charts import profile_chart, steps_chart
from explorer.render.overlay import jpeg
from explorer.ui import maps
from explorer.ui.board import Board, Row
from explorer.ui.cells import CHART, picture_cell, plain, target_choice
from explorer.ui.gallery import Item, gallery
from explorer.ui.live import chosen_row, fault, live, nothing_to_show
from explorer.ui.sidebar import Choice, beside_controls
from explorer.ui.state import service, waiter
from explorer.ui.strip import Chosen
from explorer.ui.view import counted, segmented

_CURVES: dict[str, Steps] = {"deletion": Deletion(), "insertion": Insertion()}
_LETTER = 8  # pixels, about
_DONE = {"deletion": "deleted", "insertion": "inserted"}
_PARTS = ("average-gain", "average-drop", "average-drop-in-deletion", "adcc", "coherency", "complexity")
_ADCC = ("coherency", "complexity", "average-drop", "adcc")


def show(choice: Choice) -> None:
    """Draws the page for one of the chosen pictures."""
    if not choice.methods:
        nothing_to_show("This page measures and compares maps: choose two or more methods in the sidebar.")
        return
    methods = beside_controls(choice.methods)
    metrics = _measured(choice.figures)

    def page(board: Board) -> None:
        if not board.rows:
            return
        row = chosen_row(board.rows, "judged")
        _picture(row)
        judged = [_judge(board, row, explanation, metrics) for explanation in row.explanations]
        if not judged:
            return
        if len(choice.methods) == 1:
            st.info("One method is chosen. Add others in the sidebar to compare them.")
        _curves(board, row, judged)
        _figures(judged, metrics, choice.figures)
        maps.agreement(row, judged)
        maps.energy(row, judged)
        maps.sanity(board, row)

    live(replace(choice, methods=methods), page)


def _picture(row: Row) -> None:
    """The picture with its class, and which methods are left out."""
    left, right = st.columns([1, 3])
    with left:
        picture_cell(row.picture, row.prediction.box)
    with right:
        target_choice(row.picture, row.prediction)
        for cell in row.cells:
            method, job, explanation = cell.method, cell.job, cell.explanation
            if isinstance(job.refusal, UndefinedMethodError):
                st.caption(plain(f"{method.title} is left out. {job.refusal}"))
            elif job.error is not None:
                fault(job)
            elif explanation and explanation.attribution.blank is not None:
                st.caption(
                    plain(f"{method.title} is left out: its map is blank. {explanation.attribution.blank}")
                )


def _measured(chosen: Chosen) -> tuple[Metric, ...]:
    """What the page needs, with the options of the sidebar, and what else is chosen there."""
    configured = {metric.name: metric for metric in chosen.all}
    needed = (*(configured[name] for name in _PARTS), *_CURVES.values())
    return (*needed, *(metric for metric in chosen.metrics if metric not in needed))


def _judge(board: Board, row: Row, explanation: Explanation, metrics: tuple[Metric, ...]) -> maps.Judged:
    job = board.measure(row.picture, explanation.request, metrics)
    if job.error is not None:
        fault(job)
    return maps.Judged(explanation, job.result)


def _curves(board: Board, row: Row, judged: list[maps.Judged]) -> None:
    st.subheader("Insertion and deletion", anchor=False)
    st.caption(
        "Pixels are deleted from the picture, or inserted into a blurred one, the most salient first. With a faithful "
        "map the class is lost soon and found soon. Behind each name: the area under the curve of its plain map. "
        f"{Deletion().step} pixels a step, as RISE does; deleted pixels take the mean colour."
    )
    charts = st.columns(2)
    left, right = st.columns([1, 2])
    with left:
        side = segmented(
            "side",
            "deletion",
            _CURVES,
            label="Pictures below",
            format_func=lambda name: f"Pixels {_DONE[name]}",
            help="Whether the pictures show what deletion leaves or what insertion has brought.",
        )
    with right:
        percent = counted(
            st.slider,
            "step",
            25,
            0,
            100,
            label="Pixels changed",
            step=5,
            format="%d%%",
            help="Marks a step on the curves and shows what the network saw there: the measured step that is nearest.",
        )
    pixels = judged[0].explanation.attribution.saliency.numel()
    for column, (name, metric) in zip(charts, _CURVES.items(), strict=True):
        counts = metric.counts(pixels)
        step = int(np.abs(np.array(counts) - percent / 100 * pixels).argmin())
        curves = [
            one.series(one.figures.curves[name], maps.percent(one.figures.plain[name]))
            if one.figures
            else one.series((), "…")
            for one in judged
        ]
        with column:
            st.markdown(f"**{metric.title}**, {metric.better} is better")
            st.plotly_chart(
                steps_chart(curves, [100 * count / pixels for count in counts], step, _DONE[name]),
                key=f"{name} {row.picture.digest}",
                config=CHART,
                alt=f"{metric.title} curves of {', '.join(one.title for one in judged)}",
            )
        if name == side:
            share = f"{maps.percent(counts[step] / pixels)} of the pixels"
            st.caption(f"{share} {_DONE[name]}; below each picture the probability of the class on it.")
            gallery([_at_step(board, row, one, name, step, share) for one in judged])


def _at_step(board: Board, row: Row, one: maps.Judged, name: str, step: int, share: str) -> Item:
    """What the network saw of the picture at one step of a curve."""
    perturbation = _CURVES[name].perturbations(one.explanation.attribution.saliency.numel())[step]
    job = board.ask(service().perturbed(row.picture, one.explanation, perturbation, waiter()))
    return Item(
        None if job.result is None else jpeg(Image.fromarray(job.result), maps.SIDE),
        f"{row.picture.name} with {share} {_DONE[name]} in the order of {one.title}",
        one.title,
        (maps.percent(one.figures.curves[name][step]) if one.figures else "measuring …",),
    )


def _figures(judged: list[maps.Judged], metrics: tuple[Metric, ...], chosen: Chosen) -> None:
    st.subheader("Figures", anchor=False)
    variant = segmented(
        "variant",
        "plain",
        ("plain", "calibrated"),
        label="Maps",
        format_func=str.capitalize,
        help="The maps as they are, or each cut where its calibration recommends. Compare like with like.",
    )
    measured = [(one, getattr(one.figures, variant)) for one in judged if one.figures]
    if not measured:
        st.caption("Measuring the figures …")
        return
    _table(measured, metrics, chosen)
    coherency, complexity, drop, adcc = (
        str(next(metric for metric in metrics if metric.name == name)) for name in _ADCC
    )
    profiles = [
        one.series((values[coherency], 1 - values[complexity], 1 - values[drop]), maps.percent(values[adcc]))
        for one, values in measured
    ]
    left, right = st.columns([1.8, 1], vertical_alignment="center")
    with left:
        st.plotly_chart(
            profile_chart(profiles, ("Coherency", "1 - complexity", "1 - average drop")),
            key="adcc parts",
            config=CHART,
            alt="Coherency, 1 - complexity and 1 - average drop of each method",
        )
    with right:
        st.markdown("**The three parts of ADCC**")
        st.caption(
            "ADCC, behind each name, is the harmonic mean of the three, so that one low part pulls it down: the map is "
            "the same on the masked picture (coherency), it is small (1 - complexity), and it keeps what the class "
            "needs (1 - average drop)."
        )


def _table(
    measured: list[tuple[maps.Judged, dict[str, float]]], metrics: tuple[Metric, ...], chosen: Chosen
) -> None:
    labels = {metric: f"{metric.title}{metric.qualifier}{ARROWS[metric.better]}" for metric in metrics}
    titles = [one.title for one, _ in measured]
    table = pd.DataFrame(
        {label: [100 * values[str(metric)] for _, values in measured] for metric, label in labels.items()},
        index=titles,
    )
    controls = np.array([one.control for one, _ in measured])
    ahead = []

    def best(column: "pd.Series[float]") -> list[str]:
        metric = next(metric for metric, label in labels.items() if label == column.name)
        if metric.better is None:
            return [""] * len(column)
        good = (column if metric.better == "higher" else -column).round(1).to_numpy()
        lead = np.fmax.reduce(good[~controls], initial=-np.inf)
        if np.isfinite(lead) and (good[controls] > lead).any():
            ahead.append(metric.title)
        return ["font-weight: bold" if value == lead else "" for value in np.where(controls, np.nan, good)]

    st.dataframe(
        table.style.format("{:.1f}%").apply(best),
        column_config={
            label: st.column_config.NumberColumn(
                help=" ".join(filter(None, [metric.good, metric.bad, metric.describe().capitalize()]))
            )
            for metric, label in labels.items()
        }
        | {"_index": st.column_config.Column(width=_LETTER * (2 + max(map(len, titles))))},
        height="content",
    )
    st.caption(
        f"Masked pictures: {chosen.masks}; the cuts of calibrated maps are found on the mean colour by a soft mask. "
        f"Bold is the best of the methods; a click on a heading sorts. {outdone(ahead)}"
    )
