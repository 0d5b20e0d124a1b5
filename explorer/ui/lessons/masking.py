"""Score-CAM: a channel as a mask."""

import streamlit as st
from PIL import Image

from explorer.methods import METHODS
from explorer.render.overlay import jpeg
from explorer.ui.gallery import Item, gallery
from explorer.ui.lessons.lesson import Lesson, Scene
from explorer.ui.maps import SIDE, percent
from explorer.ui.panels import Panel, panels
from explorer.ui.view import counted
from explorer.walk import Masking

_CHANNELS = 12


def _score_cam(scene: Scene) -> None:
    with scene.control:
        place = counted(
            st.slider,
            "learn.mask",
            1,
            1,
            _CHANNELS,
            label="Channel used as a mask",
            help="1 is the channel with the largest energy, the sum of its squares.",
        )
    _, right = scene.photograph()
    walked = scene.walk(Masking(_CHANNELS))
    if walked is None:
        return
    if not len(walked.channels):
        scene.map(walked.made, "Score-CAM", "score")
        return
    at = min(place, len(walked.channels)) - 1
    channel, score = int(walked.channels[at]), float(walked.scores[at])
    with scene.numbers:
        st.latex(
            rf"f_c(x \odot M_{{{channel}}}) = {float(walked.logits[at]):.2f},\quad "
            rf"w_{{{channel}}} = \mathbf{{{float(walked.weights[at]):.3f}}}"
        )
        st.caption(
            f"The probability is {percent(walked.probability)} on the whole picture and **{percent(score)}** under the "
            "mask."
        )
    name = scene.row.picture.name
    panels(
        [
            Panel(f"Channel {channel}", walked.masks[at], f"The numbers of channel {channel}"),
            Panel(
                "As a mask",
                scene.overlaid(walked.masks[at]),
                f"Channel {channel}, enlarged and laid over what the network sees of {name}",
                ("bright is kept, dark is taken away",),
            ),
            Panel(
                "The picture under it",
                jpeg(Image.fromarray(walked.sights[at]), SIDE),
                f"{name} under channel {channel} as a mask",
                (f"{scene.label}: {percent(score)}",),
            ),
        ]
    )
    st.markdown(
        f"**All {len(walked.channels)} masks**, of {walked.total} that Score-CAM tries: "
        "below each the probability and the weight"
    )
    gallery(
        Item(
            jpeg(Image.fromarray(sight), SIDE),
            f"{name} under channel {int(number)} as a mask",
            f"{'▸ ' if rank == at else ''}{rank + 1}: channel {int(number)}",
            (f"probability {percent(float(chance))}", f"weight {float(weight):.3f}"),
        )
        for rank, (number, sight, chance, weight) in enumerate(
            zip(walked.channels, walked.sights, walked.scores, walked.weights, strict=True)
        )
    )
    with right:
        scene.map(walked.made, f"Score-CAM of {len(walked.channels)} channels", "score")


SCORE_CAM = Lesson(
    "Score-CAM: masking",
    "A channel can be used as a mask: the network looks at the picture through it. "
    "If the class is still found, the channel covers what matters. "
    "No gradient is needed, but one look for each channel.",
    r"\begin{gathered} M_k = n(\operatorname{up} A_k) \\ "
    r"w_k = \operatorname{softmax}_k\, f_c(x \odot M_k) \end{gathered}",
    r"$x$: the picture; $M_k$: channel $k$ enlarged and scaled to 0 … 1; $f_c$: the logit; $\odot$: cell by cell.",
    "Find the mask under which the class is most probable.",
    METHODS["score-cam"].paper,
    _score_cam,
)
