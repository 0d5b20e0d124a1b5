"""Opti-CAM: the weights found by a search."""

from collections.abc import Hashable

import streamlit as st

from explorer.compute import Job
from explorer.methods import METHODS
from explorer.ui.frames import film
from explorer.ui.lessons.lesson import Lesson, Scene, overlaid
from explorer.ui.maps import percent
from explorer.ui.state import service, waiter
from explorer.walk import Searched, Searching

_ITERATIONS = 50


def _opti_cam(scene: Scene) -> None:
    left, right = scene.photograph()
    walked = scene.walk(Searching(_ITERATIONS))
    if walked is None:
        return
    if walked.made.blank is not None:
        scene.map(walked.made, "Opti-CAM", "opti")
        return
    first, last = float(walked.logits[0]), float(walked.logits[-1])
    with scene.numbers:
        st.latex(rf"f_c:\; {first:.2f} \;\to\; \mathbf{{{last:.2f}}}")
        st.caption(
            f"From iteration 0 to {len(walked.logits) - 1}. The probability is {percent(walked.probability)} on the "
            f"whole picture, {percent(float(walked.probabilities[0]))} at the start and "
            f"**{percent(float(walked.probabilities[-1]))}** at the end."
        )
    name = scene.row.picture.name
    with right:
        st.markdown("**The search**")
        if (frames := _frames(scene, walked)) is None:
            st.caption("Drawing the film …")
        else:
            film(
                frames,
                walked.probabilities.tolist(),
                walked.probability,
                f"The map of the search on what the network sees of {name}",
                key=" ".join(map(str, _key(scene))),
            )
    with left:
        scene.map(walked.made, "The map that it ends with", "opti")


def _key(scene: Scene) -> tuple[Hashable, ...]:
    return "film", scene.row.picture.digest, scene.target, scene.request.backbone, scene.request.layer


def _frames(scene: Scene, walked: Searched) -> tuple[bytes, ...] | None:
    """A picture (JPEG) for each iteration, once they are drawn."""
    picture, box = scene.row.picture, scene.row.prediction.box

    def draw(job: Job[tuple[bytes, ...]]) -> tuple[bytes, ...]:
        job.begin("Drawing the film", len(walked.signed))
        frames = []
        for number in range(len(walked.signed)):
            frames.append(overlaid(picture, box, walked.frame(number)))
            job.advance(1)
        return tuple(frames)

    return scene.board.ask(service().encode(_key(scene), draw, waiter())).result


OPTI_CAM = Lesson(
    "Opti-CAM: a search",
    "Why compute weights, if they can be searched for? Opti-CAM starts with all channels alike, looks through the map, "
    "and turns the weights a little so that the class gets stronger. It repeats that, step by step.",
    r"\begin{gathered} u^\ast = \arg\max_u\; f_c(x \odot S(u)) \\ "
    r"S(u) = n\Bigl(\operatorname{up} \sum_k \operatorname{softmax}(u)_k A_k\Bigr) \end{gathered}",
    r"$u$: what is searched for, one number for each channel; $S(u)$: the map; $f_c$: the logit of the class.",
    f"Press Play below the search, or step through its {_ITERATIONS} iterations; the dashed line is the whole picture.",
    METHODS["opti-cam"].paper,
    _opti_cam,
)
