"""The sections of the Faithfulness page that look at the maps alone: agreement, energy in a box, sanity check."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from explorer.calibration import cut_map
from explorer.compute import Explanation, Figures, Job, Stage, State
from explorer.images import Picture
from explorer.methods import METHODS
from explorer.metrics import Objects, Randomisation, correlation
from explorer.metrics.agreement import correlations, on_one_grid, overlaps, standard_ranks
from explorer.metrics.localisation import EnergyPointingGame, PointingGame
from explorer.render.charts import Series, agreement_chart
from explorer.render.colour import DIVERGING
from explorer.render.overlay import difference, jpeg, overlay, seen
from explorer.ui.board import Board, Row
from explorer.ui.canvas import Crop, box_picker, parse_box
from explorer.ui.cells import CHART, fault, plain
from explorer.ui.gallery import Item, gallery
from explorer.ui.press import pressed
from explorer.ui.state import service, waiter
from explorer.ui.view import REFUSED, one_of, picture_key, segmented, selected, view

_CASCADE = Randomisation(stages=4)
SIDE = 224


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


def agreement(row: Row, judged: list[Judged]) -> None:
    """How far the maps agree with each other, and where two of them differ."""
    st.subheader("Agreement", anchor=False)
    if len(judged) < 2:
        st.info("Agreement takes two maps: choose another method in the sidebar, or switch the controls on.")
        return
    left, right = st.columns([1.2, 1])
    with left:
        by = segmented(
            "agreement",
            "order",
            ("order", "cut"),
            label="Compare",
            format_func={"order": "Rank correlation (Spearman)", "cut": "IoU at the cut"}.get,
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
            config=CHART,
            alt=f"Agreement of {', '.join(one.title for one in compared)} with each other",
        )
    with right:
        _difference(row, judged)


def _difference(row: Row, judged: list[Judged]) -> None:
    columns = st.columns(2)
    names = [cell.name for cell in row.cells]
    with columns[0]:
        first = _one_method("first", names, names[0], "First map", "Orange where this one is higher.")
    with columns[1]:
        second = _one_method("second", names, names[1], "Second map", "Blue where this one is higher.")
    maps = {one.name: one.explanation for one in judged}
    if first not in maps or second not in maps:
        st.caption("There is no map of one of the two.")
        return
    one, other = (maps[name].request.method.title for name in (first, second))
    difference_picture(row.picture, maps[first], maps[second], (one, other))


def difference_picture(
    picture: Picture, one: Explanation, other: Explanation, names: tuple[str, str]
) -> None:
    """One map less another on what their networks see, with its scale, and their correlation there."""
    drawn, reach, alike = _differing(picture, one, other)
    st.image(drawn, alt=f"Where the maps of {' and '.join(names)} differ on {picture.name}", width="stretch")
    first, second = map(plain, names)
    ramp = ", ".join(f"rgb{colour}" for colour in DIVERGING)
    st.html(
        f'<div style="height: .6rem; border-radius: .2rem; background: linear-gradient(90deg, {ramp})"></div>'
        f'<div style="display: flex; justify-content: space-between; font-size: .8rem">'
        f"<span>-{reach:.2f}</span><span>0</span><span>+{reach:.2f}</span></div>"
    )
    seen_by = "the network sees" if one.request.backbone == other.request.backbone else "both networks see"
    st.caption(
        f"{first} less {second}, on what {seen_by}: orange where {first} is higher, blue where {second} is."
        if reach
        else "The two maps are the same."
    )
    st.markdown(
        "No correlation: a map is constant."
        if alike is None
        else f"Pearson's correlation of the maps: **{alike:.3f}**"
    )


def _one_method(key: str, names: list[str], default: str, label: str, explained: str) -> str:
    """A choice among the methods that are there now; one that has gone gives way to the default."""
    return selected(
        key,
        default,
        names,
        METHODS,
        label=label,
        format_func=lambda name: METHODS[name].title,
        help=explained,
    )


def energy(row: Row, judged: list[Judged]) -> None:
    """How much of each map lies in a box that the visitor draws."""
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
                    format="%.1f%%", min_value=0, max_value=100, help=EnergyPointingGame.good
                ),
                "Highest inside": st.column_config.CheckboxColumn(
                    help="Whether the map's highest value lies in the box."
                ),
            },
        )
        share = float(objects.region.double().mean())
        st.caption(
            f"The box covers {percent(share)} of what the network sees: a map that is the same everywhere has as much."
        )


def sanity(board: Board, row: Row) -> None:
    """The maps of one method as the network forgets."""
    st.subheader("Sanity check", anchor=False)
    st.caption(
        "Cascading randomisation: the network's weights are replaced by random ones, from the last layer to the first, "
        "and each time the map is made anew. A good method's map changes beyond recognition: its rank correlation "
        "(Spearman) with the map as learnt falls towards 0. One that stays "
        "shows the picture, not what the network has learnt."
    )
    names = [cell.name for cell in row.cells]
    columns = st.columns([1, 1, 2], vertical_alignment="bottom")
    with columns[0]:
        chosen = _one_method("sanity.method", names, names[0], "Method", "Whose map is put to the test.")
    asked = view().seed("sanity", "", one_of(METHODS))
    with columns[1]:
        if pressed("Run the sanity check", help="Takes what the method costs, four times.", width="stretch"):
            asked = chosen
            service().go_on(waiter())
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
            ("rank correlation 1.00",),
        )
    ]
    items += [
        Item(
            _drawn(picture, explanation, stage),
            f"{title} map of a network that is random after {stage.layer}",
            f"Random after {stage.layer}",
            (f"rank correlation {stage.correlation:z.2f}",),
        )
        for stage in job.result or ()
    ]
    if job.result is None:
        said = "Stopped" if job.state is State.STOPPED else "Randomising …"
        items += [Item(None, "", said)] * _CASCADE.stages
    gallery(items)


def percent(share: float) -> str:
    """A fraction with its sign for a sentence; a small one with its first digit."""
    return f"{100 * share:.1g}%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


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


@lru_cache(maxsize=32)
def _ranks(explanation: Explanation) -> NDArray[np.float64]:
    return standard_ranks(explanation.attribution.saliency)


@lru_cache(maxsize=64)
def _kept(explanation: Explanation) -> NDArray[np.bool_]:
    assert explanation.calibration is not None
    return (cut_map(explanation.attribution.saliency, explanation.calibration.cut) > 0).numpy()


@lru_cache(maxsize=8)
def seen_crop(picture: Picture, box: Crop, size: tuple[int, int]) -> Picture:
    return seen(picture, box, size)


@lru_cache(maxsize=16)
def _differing(picture: Picture, one: Explanation, other: Explanation) -> tuple[bytes, float, float | None]:
    """The picture of the difference, its largest absolute value, and the correlation of the maps."""
    pair = (one, other)
    (first, second), box = on_one_grid(
        [each.attribution.saliency for each in pair], [each.box for each in pair]
    )
    drawn, reach = difference(seen_crop(picture, box, tuple(first.shape)), first.numpy(), second.numpy())
    return jpeg(drawn, max(drawn.size)), reach, correlation(first, second)


@lru_cache(maxsize=64)
def _drawn(picture: Picture, explanation: Explanation, made: Explanation | Stage) -> bytes:
    """A map on what the network sees."""
    saliency = (made.saliency if isinstance(made, Stage) else made.attribution.saliency).numpy()
    crop = seen_crop(picture, explanation.box, saliency.shape)
    return jpeg(overlay(crop, saliency, (0, 0, 1, 1)), SIDE)
