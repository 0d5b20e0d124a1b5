"""Libra-CAM: the picture weighed against references."""

import math

import streamlit as st
from PIL import Image

from explorer.compute import Contrasts, Explanation
from explorer.methods import METHODS
from explorer.methods.libra import LibraCAM
from explorer.render.overlay import jpeg
from explorer.ui.lessons.lesson import Lesson, Scene
from explorer.ui.maps import SIDE
from explorer.ui.panels import Panel, panels
from explorer.ui.state import service, waiter
from explorer.ui.view import counted

_REFERENCES = LibraCAM().size


def _libra_cam(scene: Scene) -> None:
    with scene.control:
        place = counted(
            st.slider,
            "learn.reference",
            1,
            1,
            _REFERENCES,
            label="Reference",
            help="In the order in which they are drawn from the library.",
        )
    _, right = scene.photograph()
    explanation = scene.explanation()
    if explanation is None or explanation.references is None:
        return
    used, request = explanation.references, explanation.request
    job = scene.board.ask(service().study(scene.row.picture, request, Contrasts(), waiter()))
    if job.result is None:
        st.caption("Weighing the references …")
        return
    contrasted = job.result
    at = min(place, len(used.indices)) - 1
    gain, kept = float(used.gains[at]), bool(used.kept[at])
    with scene.numbers:
        base = explanation.probability
        if math.isfinite(gain):
            st.latex(rf"d_{{{at + 1}}} = {base + gain:.3f} - {base:.3f} = \mathbf{{{gain:+.3f}}}")
        st.caption(f"**{'Kept' if kept else 'Rejected'}.** {_rule(explanation)}")
    index = int(used.indices[at])
    label = scene.row.prediction.labels[int(used.library.labels[index])]
    base_map = contrasted.base_maps[at]
    panels(
        [
            Panel(
                f"Reference {at + 1}: {label}",
                jpeg(Image.fromarray(used.library.thumbnail(index).numpy()), SIDE),
                f"Reference {at + 1}, {label}",
            ),
            Panel(
                "The picture",
                contrasted.own,
                "The class score of the picture, cell by cell",
                ("gradient times activation, summed over the channels",),
                signed=True,
            ),
            Panel(
                "Less the reference",
                contrasted.theirs[at],
                "The class score of the reference, cell by cell",
                ("the same gradient times the reference's activation",),
                signed=True,
            ),
            Panel(
                "Difference",
                contrasted.own - contrasted.theirs[at],
                "The score of the picture less that of the reference",
                ("picture less reference",),
                signed=True,
            ),
            Panel(
                "Base map",
                scene.overlaid(base_map),
                f"The base map of reference {at + 1} on what the network sees of {scene.row.picture.name}",
                (_gain(gain),),
            ),
            Panel(
                f"Average of {int(used.kept.sum())}",
                contrasted.base_maps[used.kept].mean(0),
                "The average of the base maps that are kept",
                (f"{int(used.kept.sum())} of {len(used.kept)} base maps are kept",),
            ),
        ]
    )
    with right:
        scene.map(explanation.attribution, "Libra-CAM", "libra")


def _gain(gain: float) -> str:
    if math.isfinite(gain):
        return f"scaled to 0 … 1; as a mask its gain is {gain:+.3f}"
    return "the same everywhere, so it can be no mask and is rejected"


def _rule(explanation: Explanation) -> str:
    method, used = explanation.request.method, explanation.references
    assert isinstance(method, LibraCAM)
    assert used is not None
    rule = method.rejection(used.gains)
    if rule.limit is None:
        return "No reference raises the probability and none stands out, so all are kept."
    if rule.branch == "some raise":
        return f"Kept is what gains at least {rule.limit:.3f}: the mean of all positive gains less one deviation."
    return (
        f"No reference gains anything; kept is what lies above the mean and one deviation: {rule.limit:.3f}."
    )


LIBRA_CAM = Lesson(
    "Libra-CAM: weighed against references",
    "Why is this a cat, and not something else? Libra-CAM puts pictures of other classes on the other pan of the "
    "balance. What the picture has and the reference has not is the base map. "
    "Base maps that do not help the class are rejected; the average of the others is the map.",
    r"\begin{gathered} L_r = \sum_k g_k \odot (A_k - R_k) \\ d_r = p_c(x \odot n(L_r)) - p_c(x) \end{gathered}",
    r"$g_k$: the gradient; $R_k$: the activation of the reference; $L_r$: its base map; $d_r$: its gain; "
    r"$n$: scaled to 0 … 1.",
    "Look through the references: which of them are rejected?",
    METHODS["libra-cam"].paper,
    _libra_cam,
    ("libra-cam",),
)
