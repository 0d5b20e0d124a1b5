"""One picture and one map on the page."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import streamlit as st

from explorer.calibration import Calibration
from explorer.compute import Explanation, Job, Prediction, State, UnknownClassError
from explorer.images import Picture
from explorer.methods import Blank, Method, UndefinedMethodError
from explorer.render.arrays import npy
from explorer.render.charts import Cuts, calibration_chart
from explorer.render.manifest import as_json, manifest
from explorer.render.overlay import jpeg, png
from explorer.render.scale import Ends
from explorer.render.views import Style, drawn
from explorer.ui import canvas
from explorer.ui.board import PREDICTED, Cell, Row, target_key, titled
from explorer.ui.canvas import Look
from explorer.ui.columns import told_apart
from explorer.ui.remedies import remedies
from explorer.ui.sidebar import Choice
from explorer.ui.state import service
from explorer.ui.strip import Strip
from explorer.ui.view import bound, segmented, whole

CHART = {"displayModeBar": False}  # which would cover the legend where nothing hovers
_LONGEST = 1024
_MOST_BESIDE = 6


def picture_cell(picture: Picture, box: canvas.Crop) -> None:
    """The photograph with the network's crop."""
    canvas.photo(
        picture.digest,
        _jpeg(picture),
        picture.width,
        picture.height,
        box,
        f"{picture.name}, with the part that the network sees outlined",
        key=f"photo {picture.digest}",
    )


def target_choice(picture: Picture, prediction: Prediction) -> int | None:
    """The class to explain: the predicted one (None), one of the top five, or any other by its name."""
    top, labels = prediction.top(), told_apart(prediction.labels)
    others = sorted(set(range(len(labels))) - set(top), key=labels.__getitem__)

    def label(index: int) -> str:
        chance = float(prediction.probabilities[top[0] if index < 0 else index])
        if index < 0:
            return f"Predicted: {labels[top[0]]} ({chance:.1%})"
        return f"{labels[index]} ({chance:.1%})" if index in top else labels[index]

    chosen = bound(
        st.selectbox,
        target_key(picture),
        PREDICTED,
        whole(0, len(prediction.labels) - 1),
        label="Explained class",
        options=[PREDICTED, *top, *others],
        format_func=label,
        help="The predicted class, one of the five most probable, or type to search among all classes.",
    )
    return None if chosen < 0 else chosen


def about(method: Method) -> str:
    """What to expect of a method, what it costs and where it comes from, in Markdown."""
    paper = method.paper
    return (
        f"{method.good}\n\n{method.bad}\n\n"
        f"*{method.family.capitalize()}*; {method.cost}; "
        f"needs {', '.join(method.needs) or 'the activation only'}.\n\n"
        f"[{paper.title}]({paper.link}), {paper.authors}, {paper.venue} {paper.year}"
    )


def map_cell(
    picture: Picture,
    cell: Cell,
    choice: Choice,
    look: Look,
    strip: Strip | None = None,
    ends: Mapping[str, Ends] | None = None,
) -> None:
    """A map with its figures; while it is being made the former one dimmed, and the reason if it is blank.

    Args:
        ends: the scales that the methods of the page share, for the picture that is downloaded.
    """
    job, explanation = cell.job, cell.explanation
    if isinstance(job.refusal, UndefinedMethodError | UnknownClassError):
        with st.container(height=220, border=True):
            st.caption(plain(str(job.refusal)))
        if isinstance(job.refusal, UndefinedMethodError):
            remedies(None, picture, cell, cell.request, choice, look)
        return
    if job.error is not None:
        fault(job, f"{cell.name} ")
        return
    if explanation is None:
        with st.container(height=220, border=True):
            st.caption(plain(waiting(job)))
        return
    if (blank := explanation.attribution.blank) is not None:
        st.warning(f"**Blank map.** {blank}")
        remedies(blank, picture, cell, explanation.request, choice, look)
        if look.view == "signed" and blank is Blank.AGAINST:
            draw_map(picture, explanation, look, dimmed=job.result is None, cell=cell)
        return
    draw_map(picture, explanation, look, dimmed=job.result is None, cell=cell)
    stopped = job.state is State.STOPPED
    st.markdown(waiting(job) if stopped else summary(explanation, look))
    if strip is not None and not stopped:
        strip.draw()
    for note in explanation.attribution.notes:
        st.caption(plain(note))
    scale = ends.get(str(explanation.request.method)) if ends else None
    _downloads(picture, cell, explanation, look, strip, scale)


def fault(job: Job[Any], place: str = "") -> None:
    """Why a job failed, with a button that lets it run again; ``place`` tells several of one job apart."""
    st.error(plain(str(job.error)))
    st.button(
        "Try again",
        key=f"retry {place}{job.key}",
        on_click=service().retry,
        args=(job,),
        help="Does what has failed once more.",
    )


def waiting(job: Job[Any]) -> str:
    """What stands where the result of a job will be."""
    return job.stage if job.settled else f"{job.stage} …"


def _downloads(
    picture: Picture,
    cell: Cell,
    explanation: Explanation,
    look: Look,
    strip: Strip | None,
    scale: Ends | None,
) -> None:
    """The files of one map, made when the popover opens: what is registered at every poll can be gone at a click."""
    method = explanation.request.method.name
    place = " ".join((picture.digest, method, cell.place))
    popover = st.popover(
        "Download",
        width="stretch",
        key=f"download {place}",
        on_change="rerun",
        help="This map as a picture and as numbers, and what made it.",
    )
    if not popover.open:
        return
    stem = "-".join(filter(None, (picture.name.rsplit(".", 1)[0], method, cell.place.replace(":", "-"))))
    saliency = explanation.attribution.saliency.numpy()
    measured = {0: (strip.figures, strip.chosen.metrics)} if strip and strip.figures else {}
    files: dict[str, tuple[str, str, str | bytes, str]] = {
        "Picture (.png)": (
            "png",
            "image/png",
            _png(picture, explanation, look.style, scale),
            "The photograph with the map in the view of the page.",
        ),
        "Map (.npy)": (
            "npy",
            "application/octet-stream",
            npy(saliency),
            "Its values from 0 to 1 for NumPy, in the frame of the network's input.",
        ),
        "Signed map (.npy)": (
            "signed.npy",
            "application/octet-stream",
            npy(explanation.attribution.signed.numpy()),
            "Its values before ReLU and scaling, at the layer's resolution.",
        ),
        "Manifest (.json)": (
            "json",
            "application/json",
            as_json(manifest([replace(explanation, name=picture.name)], measured=measured)),
            "What the map was made of and what was measured of it.",
        ),
    }
    for label, (suffix, kind, content, explained) in files.items():
        popover.download_button(
            label,
            content,
            f"{stem}.{suffix}",
            kind,
            key=f"{suffix} {place}",
            on_click="ignore",
            help=explained,
            width="stretch",
        )


def calibration_block(rows: Sequence[Row], look: Look) -> None:
    """The curves of the maps of one picture, and what the network sees of it at the cut."""
    picture = rows[0].picture
    maps = {title: (cell, cell.usable) for title, cell in titled(rows).items() if cell.usable}
    curves = [(title, made.calibration) for title, (_, made) in maps.items() if made.calibration]
    if not curves:
        st.caption("Measuring the curves …")
        return
    gain = segmented(
        "axis",
        "probability",
        ("probability", "gain"),
        label="Vertical axis",
        format_func=str.capitalize,
        help="The probability of the class on the picture that is left, or how much it is above that of the whole one.",
    )
    st.plotly_chart(
        calibration_chart(
            [_cuts(title, calibration, gain=gain == "gain") for title, calibration in curves],
            look.cut,
            up="Gain" if gain == "gain" else "Probability of the class",
        ),
        key=f"curves {picture.digest}",
        config=CHART,
        alt=f"Calibration curves of {', '.join(title for title, _ in curves)}",
    )
    st.caption(
        "The lowest values of each map are removed step by step. A star marks the recommended cut, where the "
        "class is most probable. Below: what the network sees at the cut."
    )
    across = min(_MOST_BESIDE, max(3, len(maps)))
    for position, (title, (cell, explanation)) in enumerate(maps.items()):
        if position % across == 0:
            places = st.columns(across)
        with places[position % across]:
            st.markdown(plain(title))
            draw_map(picture, explanation, look, view="cut", cell=cell)


def _cuts(title: str, calibration: Calibration, *, gain: bool) -> Cuts:
    levels = calibration.removed
    return Cuts(
        title,
        levels,
        calibration.gains if gain else calibration.probabilities,
        0.0 if gain else calibration.probability,
        levels.index(calibration.cut) if calibration.cut in levels else None,
    )


def summary(explanation: Explanation, look: Look) -> str:
    """The probability on the picture and at the cut, and what the map took, in Markdown."""
    calibration = explanation.calibration
    if calibration is None:
        return "Measuring the cut …"
    cut = calibration.cut if look.cut is None else look.cut
    if cut in calibration.removed:
        chance, about = calibration.probabilities[calibration.removed.index(cut)], ""
    elif cut > calibration.removed[-1]:
        return f"{cut}% removed: beyond the measured levels  \n:small[{_cost(explanation)}]"
    else:
        chance, about = float(np.interp(cut, calibration.removed, calibration.probabilities)), "about "
    gain = chance - calibration.probability
    change = f"{gain:+.3f}"
    if round(gain, 3):
        change = f":{'green' if gain > 0 else 'red'}[{change}]"
    name = "recommended cut" if look.cut is None else "cut"
    return (
        f"{calibration.probability:.3f} → {about}**{chance:.3f}** "
        f"{change} at the {name}, {cut}% removed  \n:small[{_cost(explanation)}]"
    )


def _cost(explanation: Explanation) -> str:
    return f"{explanation.passes} forward passes, {explanation.seconds:.2f} s"


def draw_map(
    picture: Picture,
    explanation: Explanation,
    look: Look,
    *,
    view: str | None = None,
    dimmed: bool = False,
    cell: Cell | None = None,
    place: str = "",
) -> None:
    """The map on the photograph.

    Args:
        view: fixes one of ``canvas.VIEWS``, whatever the look says; ``dimmed`` marks an earlier result.
        cell: of the wall; ``place`` where on the page it stands, if it is drawn in several.
    """
    method, calibration = explanation.request.method, explanation.calibration
    extent = explanation.attribution.extent
    column = cell.title if cell and cell.place else ""
    key = " ".join((view or "look", picture.digest, method.name, *column.split(), *place.split()))
    canvas.map_cell(
        key,
        picture.digest,
        explanation.attribution.saliency.numpy(),
        explanation.box,
        calibration.cut / 100 if calibration else 0,
        explanation.fill,
        f"{method.title} map for {explanation.label} on {picture.name}" + (column and f", {column}"),
        key=key,
        dimmed=dimmed,
        view=view,
        curve=list(zip(calibration.removed, calibration.probabilities, strict=True)) if calibration else (),
        signed=explanation.attribution.signed.numpy() if (view or look.view) == "signed" else None,
        method=method.title + method.qualifier,
        extent=None if extent is None else tuple(extent.tolist()),
    )


@lru_cache(maxsize=8)
def _png(picture: Picture, explanation: Explanation, style: Style, scale: Ends | None) -> bytes:
    return png(drawn(picture, explanation, style, scale))


@lru_cache(maxsize=64)
def _jpeg(picture: Picture) -> bytes:
    return jpeg(picture.image, _LONGEST)


def plain(text: str) -> str:
    """A text, a file name say, that Markdown shows as it is."""
    return "".join(f"\\{character}" if character in r"\`*_[]<>$~:" else character for character in text)
