"""Before any method: what goes into the network, what comes out, and the maps in between."""

import streamlit as st
from PIL import Image

from explorer.methods import METHODS
from explorer.render.overlay import jpeg
from explorer.render.tensor import cells
from explorer.ui.cells import target_choice
from explorer.ui.gallery import Item, gallery
from explorer.ui.lessons.lesson import Lesson, Scene, scaled
from explorer.ui.maps import percent
from explorer.ui.panels import Bar, Panel, bars, panels
from explorer.ui.view import counted
from explorer.walk import Browsing, Seeing

_CHANNELS = 24
_THUMBNAIL = 112


def _seeing(scene: Scene) -> None:
    with scene.control:
        target_choice(scene.row.picture, scene.row.prediction)
    _, right = scene.photograph()
    seen = scene.walk(Seeing())
    if seen is None:
        return
    logit = float(seen.logits[scene.target])
    rest = float(seen.logits.exp().sum())
    with scene.numbers:
        st.latex(
            rf"p_c = \frac{{e^{{{logit:.2f}}}}}{{{_short(rest)}}} = \mathbf{{{scene.probability:.3f}}}"
            if rest < 1e6
            else rf"y_c = {logit:.2f},\quad p_c = \mathbf{{{scene.probability:.3f}}}"
        )
    with right:
        height, width, _ = seen.colours.shape
        st.markdown("**The input of the network**")
        st.image(
            jpeg(Image.fromarray(seen.colours), max(height, width)),
            alt=f"{scene.row.picture.name}, cropped and scaled as the network sees it",
            width="stretch",
        )
        st.caption(f"3 x {height} x {width} numbers, from {seen.low:.2f} to {seen.high:.2f}")
    st.markdown(f"**The output**: {len(seen.logits)} logits, and the five largest probabilities")
    top = scene.row.prediction.top()
    shown = top if scene.target in top else [*top, scene.target]
    bars(
        Bar(
            scene.row.prediction.labels[index],
            float(scene.row.prediction.probabilities[index]),
            f"{percent(float(scene.row.prediction.probabilities[index]))}, logit {float(seen.logits[index]):.2f}",
            index == scene.target,
        )
        for index in shown
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _channels(scene: Scene) -> None:
    with scene.control:
        place = counted(
            st.slider,
            "learn.channel",
            1,
            1,
            _CHANNELS,
            label="Channel, from the strongest",
            help="1 is the channel with the largest mean.",
        )
    _, right = scene.photograph()
    browsed = scene.walk(Browsing(_CHANNELS))
    if browsed is None:
        return
    at = min(place, len(browsed.maps)) - 1
    channel, shown, weight = int(browsed.channels[at]), browsed.maps[at], float(browsed.weights[at])
    with scene.numbers:
        st.latex(
            rf"\begin{{gathered}} \bar A_{{{channel}}} = \mathbf{{{float(shown.mean()):.3f}}},\quad "
            rf"\max A_{{{channel}}} = \mathbf{{{float(shown.max()):.3f}}} \\ "
            rf"w_{{{channel}}} = \mathbf{{{weight:+.3f}}} \end{{gathered}}"
        )
    name = f"Channel {channel} of {browsed.total}"
    with right:
        st.markdown(f"**{name}**, enlarged")
        scene.saliency(scaled(shown), f"{name} on {scene.row.picture.name}", "channel")
    panels([Panel(f"Channel {channel}", shown, f"The numbers of channel {channel}")])
    st.markdown(f"**The {len(browsed.maps)} strongest channels**")
    gallery(
        Item(
            cells(one.numpy(), _THUMBNAIL),
            f"Channel {int(number)} as a map",
            f"{'▸ ' if rank == at else ''}{rank + 1}: channel {int(number)}",
            (f"mean {float(one.mean()):.2f}, max {float(one.max()):.2f}", f"weight {float(weight):+.2f}"),
        )
        for rank, (number, one, weight) in enumerate(
            zip(browsed.channels, browsed.maps, browsed.weights, strict=True)
        )
    )


SEEING = Lesson(
    "What the network sees",
    "The network never sees the whole photograph. It is cropped, made small and turned into numbers. "
    "What comes out is one score for each class, the logit, and from all logits the probabilities.",
    r"p_c = \frac{e^{y_c}}{\sum_j e^{y_j}}",
    r"$y_c$: the logit of class $c$; $p_c$: its probability.",
    "Choose another class: all lessons then explain that one.",
    METHODS["cam"].paper,
    _seeing,
)

CHANNELS = Lesson(
    "Activation maps",
    "On its way through the network the picture becomes many small maps, the channels of a layer. "
    "Each channel is high where it finds its own pattern: fur, an edge, a round thing. "
    "Every method in the next lessons is made of them.",
    r"\begin{gathered} \bar A_k = \frac{1}{hw} \sum_{i,j} A_{k,ij} \\ "
    r"w_k = \sum_{i,j} \frac{\partial y_c}{\partial A_{k,ij}} \end{gathered}",
    r"$A_k$: channel $k$, with $h \times w$ cells; $\bar A_k$: its mean; $w_k$: its weight, by how much the logit "
    "$y_c$ of the class rises with the mean.",
    "Move the slider through the channels: guess what each of them looks for, and whether it speaks for the class.",
    METHODS["eigen-cam"].paper,
    _channels,
)
