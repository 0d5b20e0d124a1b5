"""The Faithfulness page: what the metrics say of the maps of one picture, and how far the maps agree."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from explorer.calibration import cut_map
from explorer.compute import Explanation, Figures, Job, Stage
from explorer.images import Picture
from explorer.methods import METHODS, UndefinedMethodError
from explorer.metrics import Deletion, Insertion, Metric, Objects, Randomisation, Steps, find
from explorer.metrics.agreement import correlations, overlaps, standard_ranks
from explorer.metrics.localisation import EnergyPointingGame, PointingGame
from explorer.render.charts import Series, agreement_chart, profile_chart, steps_chart
from explorer.render.colour import DIVERGING
from explorer.render.overlay import difference, jpeg, overlay, seen
from explorer.ui.board import Board, Row, picture_key
from explorer.ui.canvas import Crop, box_picker, parse_box
from explorer.ui.cells import picture_cell, plain, target_choice
from explorer.ui.gallery import Item, gallery
from explorer.ui.live import chosen_row, fault, live
from explorer.ui.sidebar import Choice
from explorer.ui.state import service, waiter
from explorer.ui.view import REFUSED, bound, flag, one_of, show_flag, view, whole

_CONTROLS = ("random", "centre-gaussian", "fake-cam")
_CURVES: dict[str, Steps] = {"deletion": Deletion(), "insertion": Insertion()}
_DONE = {"deletion": "deleted", "insertion": "inserted"}
_PARTS = ("average-gain", "average-drop", "average-drop-in-deletion", "adcc", "coherency", "complexity")
_METRICS: tuple[Metric, ...] = (*(find(name)() for name in _PARTS), *_CURVES.values())
_CASCADE = Randomisation(stages=4)
_SIDE = 224
_CHART: dict[str, Any] = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


@dataclass(frozen=True)
class Judged:
    """A usable map, and what the metrics say of it once they are measured."""

    explanation: Explanation
    figures: Figures | None

    @property
    def name(self) -> str:
        return self.explanation.request.method.name

    @property
    def title(self) -> str:
        return self.explanation.request.method.title

    @property
    def control(self) -> bool:
        return self.explanation.request.method.family == "controls"

    def series(self, values: Sequence[float], note: str) -> Series:
        return Series(f"{self.title} {note}", values, self.control)


def show(choice: Choice) -> None:
    """Draws the page for one of the chosen pictures."""
    if not choice.methods:
        st.info("This page measures and compares maps: choose two or more methods in the sidebar.")
        return
    controls = bound(
        st.toggle,
        "controls",
        True,
        flag,
        show_flag,
        label="With controls",
        help="Adds random values, a centred blob and Fake-CAM, which look at no network: what a method must beat.",
    )
    methods = choice.methods
    if controls:
        chosen = {method.name for method in methods}
        methods += tuple(METHODS[name]() for name in _CONTROLS if name not in chosen)

    def page(board: Board) -> None:
        if not board.rows:
            return
        row = chosen_row(board.rows, "judged")
        _picture(row)
        judged = [_judge(board, row, explanation) for explanation in row.explanations]
        if not judged:
            return
        if len(choice.methods) == 1:
            st.info("One method is chosen. Add others in the sidebar to compare them.")
        _curves(board, row, judged)
        _figures(judged)
        _agreement(row, judged)
        _energy(row, judged)
        _sanity(board, row)

    live(replace(choice, methods=methods), page)


def _picture(row: Row) -> None:
    """The picture with its class, and which methods are left out."""
    left, right = st.columns([1, 3])
    with left:
        picture_cell(row.picture, row.prediction.box)
    with right:
        target_choice(row.picture, row.prediction)
        for method, job, former in row.cells:
            explanation = job.result or former
            if isinstance(job.refusal, UndefinedMethodError):
                st.caption(plain(f"{method.title} is left out. {job.refusal}"))
            elif job.error is not None:
                fault(job)
            elif explanation and explanation.attribution.blank is not None:
                st.caption(
                    plain(f"{method.title} is left out: its map is blank. {explanation.attribution.blank}")
                )


def _judge(board: Board, row: Row, explanation: Explanation) -> Judged:
    job = board.watch(service().figures(row.picture, explanation.request, _METRICS, waiter()))
    if job.error is not None:
        fault(job)
    return Judged(explanation, job.result)


def _curves(board: Board, row: Row, judged: list[Judged]) -> None:
    st.subheader("Insertion and deletion", anchor=False)
    st.caption(
        "Pixels are deleted from the picture, or inserted into a blurred one, the most salient first. With a faithful "
        "map the class is lost soon and found soon. Behind each name: the area under its curve."
    )
    charts = st.columns(2)
    left, right = st.columns([1, 2])
    with left:
        side = bound(
            st.segmented_control,
            "side",
            "deletion",
            one_of(_CURVES),
            label="Pictures below",
            options=list(_CURVES),
            format_func=lambda name: f"Pixels {_DONE[name]}",
            help="Whether the pictures show what deletion leaves or what insertion has brought.",
        )
    with right:
        percent = bound(
            st.slider,
            "step",
            25,
            whole(0, 100),
            label="Pixels changed",
            min_value=0,
            max_value=100,
            step=5,
            format="%d %%",
            help="Marks a step on the curves and shows what the network saw there: the measured step that is nearest.",
        )
    pixels = judged[0].explanation.attribution.saliency.numel()
    for column, (name, metric) in zip(charts, _CURVES.items(), strict=True):
        counts = metric.counts(pixels)
        step = int(np.abs(np.array(counts) - percent / 100 * pixels).argmin())
        curves = [
            one.series(one.figures.curves[name], _percent(one.figures.plain[name]))
            if one.figures
            else one.series((), "…")
            for one in judged
        ]
        with column:
            st.markdown(f"**{metric.title}**, {metric.better} is better")
            st.plotly_chart(
                steps_chart(curves, [100 * count / pixels for count in counts], step, _DONE[name]),
                key=f"{name} {row.picture.digest}",
                config=_CHART,
                alt=f"{metric.title} curves of {', '.join(one.title for one in judged)}",
            )
        if name == side:
            share = f"{_percent(counts[step] / pixels)} of the pixels"
            st.caption(f"{share} {_DONE[name]}; below each picture the probability of the class on it.")
            gallery([_at_step(board, row, one, name, step, share) for one in judged])


def _at_step(board: Board, row: Row, one: Judged, name: str, step: int, share: str) -> Item:
    """What the network saw of the picture at one step of a curve."""
    perturbation = _CURVES[name].perturbations(one.explanation.attribution.saliency.numel())[step]
    job = board.ask(service().perturbed(row.picture, one.explanation, perturbation, waiter()))
    return Item(
        None if job.result is None else jpeg(Image.fromarray(job.result), _SIDE),
        f"{row.picture.name} with {share} {_DONE[name]} in the order of {one.title}",
        one.title,
        (_percent(one.figures.curves[name][step]) if one.figures else "measuring …",),
    )


def _figures(judged: list[Judged]) -> None:
    st.subheader("Figures", anchor=False)
    variant = bound(
        st.segmented_control,
        "variant",
        "plain",
        one_of(("plain", "calibrated")),
        label="Maps",
        options=["plain", "calibrated"],
        format_func=str.capitalize,
        help="The maps as they are, or each cut where its calibration recommends. Compare like with like.",
    )
    measured = [(one, getattr(one.figures, variant)) for one in judged if one.figures]
    if not measured:
        st.caption("Measuring the figures …")
        return
    _table(measured)
    profiles = [
        one.series(
            (values["coherency"], 1 - values["complexity"], 1 - values["average-drop"]),
            _percent(values["adcc"]),
        )
        for one, values in measured
    ]
    left, right = st.columns([1.8, 1], vertical_alignment="center")
    with left:
        st.plotly_chart(
            profile_chart(profiles, ("Coherency", "1 - complexity", "1 - average drop")),
            key="adcc parts",
            config=_CHART,
            alt="Coherency, 1 - complexity and 1 - average drop of each method",
        )
    with right:
        st.markdown("**The three parts of ADCC**")
        st.caption(
            "ADCC, behind each name, is the harmonic mean of the three, so that one low part pulls it down: the map is "
            "the same on the masked picture (coherency), it is small (1 - complexity), and it keeps what the class "
            "needs (1 - average drop)."
        )


def _table(measured: list[tuple[Judged, dict[str, float]]]) -> None:
    arrows = {"higher": "↑", "lower": "↓"}
    labels = {metric: f"{metric.title} {arrows[metric.better or 'higher']}" for metric in _METRICS}
    table = pd.DataFrame(
        {label: [100 * values[metric.name] for _, values in measured] for metric, label in labels.items()},
        index=[one.title for one, _ in measured],
    )
    controls = np.array([one.control for one, _ in measured])
    outdone = []

    def best(column: "pd.Series[float]") -> list[str]:
        metric = next(metric for metric, label in labels.items() if label == column.name)
        good = (column if metric.better == "higher" else -column).round(1).to_numpy()
        lead = good[~controls].max(initial=-np.inf)
        if (good[controls] > lead).any():
            outdone.append(metric.title)
        return ["font-weight: bold" if value == lead else "" for value in np.where(controls, np.nan, good)]

    st.dataframe(
        table.style.format("{:.1f} %").apply(best),
        column_config={
            label: st.column_config.NumberColumn(help=f"{metric.good} {metric.bad}")
            for metric, label in labels.items()
        },
    )
    text = "Bold is the best of the methods; a click on a heading sorts."
    if outdone:
        text += (
            f" A control, which looks at no network, does better than all of them by: {', '.join(outdone)}."
        )
    st.caption(text)


def _agreement(row: Row, judged: list[Judged]) -> None:
    st.subheader("Agreement", anchor=False)
    if len(judged) < 2:
        st.info("Agreement takes two maps: choose another method in the sidebar, or switch the controls on.")
        return
    left, right = st.columns([1.2, 1])
    with left:
        by = bound(
            st.segmented_control,
            "agreement",
            "order",
            one_of(("order", "cut")),
            label="Compare",
            options=["order", "cut"],
            format_func={"order": "Order of the pixels", "cut": "Pixels kept"}.get,
            help="Spearman's rank correlation of the maps, or the intersection over union of the pixels that are kept "
            "at the cut recommended for each map.",
        )
        if by == "order":
            compared = judged
            values = correlations([_ranks(one.explanation) for one in compared])
            st.caption("1: the same order of all pixels; 0: no relation; -1: the reverse order.")
        else:
            compared = [one for one in judged if one.explanation.calibration is not None]
            if not compared:
                st.caption("Measuring the cuts …")
                return
            values = overlaps([_kept(one.explanation) for one in compared])
            st.caption("1: the same pixels are kept at the recommended cuts; 0: no pixel in common.")
        st.plotly_chart(
            agreement_chart([one.title for one in compared], values, signed=by == "order"),
            key=f"agreement {by}",
            config=_CHART,
            alt=f"Agreement of {', '.join(one.title for one in compared)} with each other",
        )
    with right:
        _difference(row, judged)


def _difference(row: Row, judged: list[Judged]) -> None:
    columns = st.columns(2)
    names = [method.name for method, _, _ in row.cells]
    with columns[0]:
        first = _one_method("first", names, names[0], "First map", "Orange where this one is higher.")
    with columns[1]:
        second = _one_method("second", names, names[1], "Second map", "Blue where this one is higher.")
    maps = {one.name: one.explanation for one in judged}
    if first not in maps or second not in maps:
        st.caption("There is no map of one of the two.")
        return
    picture, reach = _differing(row.picture, maps[first], maps[second])
    one, other = (plain(maps[name].request.method.title) for name in (first, second))
    st.image(
        picture, alt=f"Where the maps of {one} and {other} differ on {row.picture.name}", width="stretch"
    )
    ramp = ", ".join(f"rgb{colour}" for colour in DIVERGING)
    st.html(
        f'<div style="height: .6rem; border-radius: .2rem; background: linear-gradient(90deg, {ramp})"></div>'
        f'<div style="display: flex; justify-content: space-between; font-size: .8rem">'
        f"<span>-{reach:.2f}</span><span>0</span><span>+{reach:.2f}</span></div>"
    )
    st.caption(
        f"{one} less {other}, on what the network sees: orange where {one} is higher, blue where {other} is."
        if reach
        else "The two maps are the same."
    )


def _one_method(key: str, names: list[str], default: str, label: str, explained: str) -> str:
    """A choice among the methods that are there now; one that has gone gives way to the default."""
    if view().seed(key, default, one_of(METHODS)) not in names:
        view().values[key] = default
        st.session_state.pop(f"widget {key}", None)
    chosen = bound(
        st.selectbox,
        key,
        default,
        one_of(METHODS),
        label=label,
        options=names,
        format_func=lambda name: METHODS[name].title,
        help=explained,
    )
    return str(chosen)


def _energy(row: Row, judged: list[Judged]) -> None:
    st.subheader("Energy in a box", anchor=False)
    st.caption(
        "Draw a box around the object: the share of each map's energy that lies inside, and whether the map is highest "
        "there. Arrow keys move the box; with Shift they resize it."
    )
    left, right = st.columns([1, 1.4])
    key = picture_key("box", row.picture)
    crop = row.prediction.box
    default = _middle(crop)
    with left:
        start = view().seed(key, default, lambda text: parse_box(text.split(",")) or REFUSED)
        box = box_picker(
            row.picture.digest,
            crop,
            start,
            f"{row.picture.name}: draw a box by dragging; arrow keys move it, with Shift they resize it",
            key=f"box {row.picture.digest}",
        )
        view().keep(key, box, default, lambda sides: ",".join(f"{side:g}" for side in sides))
    height, width = judged[0].explanation.attribution.saliency.shape
    objects = Objects.inside(box, crop, (height, width))
    with right:
        if not objects.region.any():
            st.info("The box lies outside of what the network sees: draw it inside the outline.")
            return
        maps = [one.explanation.attribution.saliency for one in judged]
        st.dataframe(
            pd.DataFrame(
                {
                    "Energy inside": [
                        100 * EnergyPointingGame().located(saliency, objects) for saliency in maps
                    ],
                    "Highest inside": [
                        bool(PointingGame(margin=0).located(saliency, objects)) for saliency in maps
                    ],
                },
                index=[one.title for one in judged],
            ),
            column_config={
                "Energy inside": st.column_config.ProgressColumn(
                    format="%.1f %%", min_value=0, max_value=100, help=EnergyPointingGame.good
                ),
                "Highest inside": st.column_config.CheckboxColumn(
                    help="Whether the map's highest value lies in the box."
                ),
            },
        )
        share = float(objects.region.double().mean())
        st.caption(
            f"The box covers {_percent(share)} of what the network sees: a map that is the same everywhere has as much."
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _middle(crop: Crop) -> Crop:
    """The middle half of the crop."""
    left, top, right, bottom = crop
    across, down = (right - left) / 4, (bottom - top) / 4
    return (
        round(left + across, 3),
        round(top + down, 3),
        round(right - across, 3),
        round(bottom - down, 3),
    )


def _sanity(board: Board, row: Row) -> None:
    st.subheader("Sanity check", anchor=False)
    st.caption(
        "The network's weights are replaced by random ones, from the last layer to the first, and each time the map is "
        "made anew. A good method's map changes beyond recognition: the correlation falls towards 0. One that stays "
        "shows the picture, not what the network has learnt."
    )
    names = [method.name for method, _, _ in row.cells]
    columns = st.columns([1, 1, 2], vertical_alignment="bottom")
    with columns[0]:
        chosen = _one_method("sanity.method", names, names[0], "Method", "Whose map is put to the test.")
    asked = view().seed("sanity", "", one_of(METHODS))
    with columns[1]:
        if st.button(
            "Run the sanity check", help="Takes what the method costs, four times.", width="stretch"
        ):
            asked = chosen
    view().keep("sanity", asked, "")
    explanation = next((one for one in row.explanations if one.request.method.name == chosen), None)
    if asked != chosen or explanation is None:
        return
    job = board.watch(service().randomised(row.picture, explanation.request, _CASCADE, waiter()))
    if job.error is not None:
        fault(job)
        return
    _strip(row.picture, explanation, job)


def _strip(picture: Picture, explanation: Explanation, job: Job[list[Stage]]) -> None:
    title = explanation.request.method.title
    items = [
        Item(
            _drawn(picture, explanation, explanation),
            f"{title} map of the network itself",
            "As learnt",
            ("correlation 1.00",),
        )
    ]
    items += [
        Item(
            _drawn(picture, explanation, stage),
            f"{title} map of a network that is random after {stage.layer}",
            f"Random after {stage.layer}",
            (f"correlation {stage.correlation:.2f}",),
        )
        for stage in job.result or ()
    ]
    if job.result is None:
        items += [Item(None, "", "Randomising …")] * _CASCADE.stages
    gallery(items)


@lru_cache(maxsize=32)
def _ranks(explanation: Explanation) -> NDArray[np.float64]:
    return standard_ranks(explanation.attribution.saliency)


@lru_cache(maxsize=64)
def _kept(explanation: Explanation) -> NDArray[np.bool_]:
    assert explanation.calibration is not None
    return (cut_map(explanation.attribution.saliency, explanation.calibration.cut) > 0).numpy()


@lru_cache(maxsize=8)
def _seen(picture: Picture, box: Crop, size: tuple[int, int]) -> Picture:
    return seen(picture, box, size)


@lru_cache(maxsize=16)
def _differing(picture: Picture, one: Explanation, other: Explanation) -> tuple[bytes, float]:
    first, second = (each.attribution.saliency.numpy() for each in (one, other))
    drawn, reach = difference(_seen(picture, one.box, first.shape), first, second)
    return jpeg(drawn, max(drawn.size)), reach


@lru_cache(maxsize=64)
def _drawn(picture: Picture, explanation: Explanation, made: Explanation | Stage) -> bytes:
    """A map on what the network sees."""
    saliency = (made.saliency if isinstance(made, Stage) else made.attribution.saliency).numpy()
    crop = _seen(picture, explanation.box, saliency.shape)
    return jpeg(overlay(crop, saliency, (0, 0, 1, 1)), _SIDE)
