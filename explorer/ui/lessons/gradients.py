"""CAM and Grad-CAM: channels weighted and summed."""

from dataclasses import replace

import streamlit as st

from explorer.backbones import Layer
from explorer.methods import METHODS
from explorer.ui.lessons.lesson import Lesson, Scene
from explorer.ui.panels import Panel, panels
from explorer.ui.view import REFUSED, bound, segmented, whole
from explorer.walk import Weighted, Weighting

_ADDED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 0)


def _terms(walked: Weighted, count: int = 2) -> str:
    """The first terms of the sum with their numbers, in LaTeX."""
    terms = [
        rf"{float(weight):+.2g}\,A_{{{int(channel)}}}"
        for weight, channel in zip(walked.weights[:count], walked.channels[:count], strict=True)
    ]
    more = r" + \dots" if walked.added > count else ""
    return " ".join(terms[: walked.added]).lstrip("+") + more


def _added(text: str) -> object:
    found = whole(0, _ADDED[-2])(text)
    return found if found in _ADDED else REFUSED


def _cam(scene: Scene) -> None:
    with scene.control:
        added = bound(
            st.select_slider,
            "learn.added",
            0,
            _added,
            label="Channels in the sum",
            options=_ADDED,
            format_func=lambda count: str(count or "all"),
            help="Those that count most come first.",
        )
    _, right = scene.photograph()
    walked = scene.walk(Weighting("cam", added))
    if walked is None:
        return
    with scene.numbers:
        st.latex(rf"M = {_terms(walked)}")
        st.caption(f"{walked.added} of {walked.total} channels are in the sum.")
    st.markdown("**1. Channels that count most**, each with its weight")
    panels(
        Panel(
            f"Channel {int(channel)}",
            shown,
            f"The numbers of channel {int(channel)}",
            (f"weight {float(weight):+.3f}, so it speaks {'for' if weight > 0 else 'against'} the class",),
        )
        for channel, shown, weight in zip(
            walked.channels[:3], walked.maps[:3], walked.weights[:3], strict=True
        )
    )
    st.markdown("**2. Their weighted sum, and 3. the ReLU of it**; step 4, the up-sampled map, is above")
    _stages(walked)
    with right:
        scene.map(walked.made, "4. CAM" if walked.added == walked.total else "4. The map so far", "cam")


def _stages(walked: Weighted) -> None:
    signed = walked.made.signed
    panels(
        [
            Panel(
                "Sum",
                signed,
                f"The weighted sum of {walked.added} channels",
                ("orange: for the class; blue: against it",),
                signed=True,
            ),
            Panel(
                "ReLU", signed.relu(), "The sum with what is negative set to zero", ("what is negative is 0",)
            ),
        ]
    )


def _scales(layers: tuple[Layer, ...], chosen: str | None) -> dict[str, Layer]:
    """The deepest layer of each size, the deepest first; a chosen layer stands for its size."""
    found: dict[str, Layer] = {}
    for layer in reversed(layers):
        size = f"{layer.height} x {layer.width}"
        if size not in found or layer.name == chosen:
            found[size] = layer
    return found


def _grad_cam(scene: Scene) -> None:
    layers = scene.choice.layers().result or ()
    scales = _scales(layers, scene.request.layer)
    first = next(
        (size for size, layer in scales.items() if layer.name == scene.request.layer), next(iter(scales))
    )
    with scene.control:
        size = segmented(
            f"learn.layer.{scene.request.backbone}",
            first,
            scales,
            label="Layer, by the cells of its maps",
            required=True,
            help="The deepest layer of each size.",
        )
    request = replace(scene.request, layer=scales.get(size, scales[first]).name)
    _, middle, right = scene.photograph(2)
    walked = scene.walk(Weighting("grad-cam"), request)
    if walked is None:
        return
    with scene.numbers:
        st.latex(rf"M = {_terms(walked)}")
        st.caption(_evenness(walked))
    st.markdown("**The gradients of three channels**: by how much each cell would move the logit")
    panels(
        Panel(
            f"Gradient of channel {int(channel)}",
            gradient,
            f"The gradient of the logit by channel {int(channel)}",
            (f"its mean is the weight, {float(weight):+.3g}",),
            signed=True,
        )
        for channel, gradient, weight in zip(
            walked.channels[:3], walked.gradients[:3], walked.weights[:3], strict=True
        )
    )
    st.markdown("**Their weighted sum, and the ReLU of it**")
    _stages(walked)
    with middle:
        scene.map(walked.made, "Grad-CAM", "grad")
    with right:
        other = scene.walk(Weighting("cam"), request)
        if other is not None:
            scene.map(other.made, "CAM, for comparison", "cam")


def _evenness(walked: Weighted) -> str:
    if walked.uneven < 1e-4:
        return (
            "Here every channel has one gradient for all its cells, the weight of the last layer divided by the number "
            "of cells. So Grad-CAM and CAM are the same map."
        )
    return (
        f"Here the gradient differs from cell to cell, by up to {walked.uneven:.0%} of the largest. The mean hides "
        "that, and there is no CAM to be the same as."
    )


CAM = Lesson(
    "CAM",
    "The last layer knows how much each channel counts for a class: its weight. "
    "CAM multiplies each channel by its weight and adds them up. "
    "What is positive speaks for the class, and is enlarged to the size of the picture.",
    r"S = \operatorname{up}\Bigl(\operatorname{ReLU}\sum_k w_k A_k\Bigr)",
    r"$w_k$: the weight of channel $k$ for the class; $A_k$: the channel; $M$: the sum; $S$: the map.",
    "Start with one channel and add more: how many does it take until the map is there?",
    METHODS["cam"].paper,
    _cam,
)

GRAD_CAM = Lesson(
    "Grad-CAM",
    "Most layers have no such weights. Grad-CAM asks the gradient instead: if a cell were a little larger, by how much "
    "would the logit rise? The mean of the gradient over a channel is its weight.",
    r"w_k = \frac{1}{hw} \sum_{i,j} \frac{\partial y_c}{\partial A_{k,ij}}",
    r"$\partial y_c / \partial A_{k,ij}$: the gradient of the logit by one cell. "
    "The sum $M$ and the map are made as in CAM.",
    "Go to an earlier layer: the gradient is no longer the same in all cells.",
    METHODS["grad-cam"].paper,
    _grad_cam,
)
