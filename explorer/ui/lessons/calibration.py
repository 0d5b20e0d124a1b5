"""Threshold calibration: where to cut a map."""

import streamlit as st
from PIL import Image

from explorer.calibration import PAPER_LEVELS
from explorer.methods import METHODS
from explorer.render.charts import Cuts, calibration_chart
from explorer.render.overlay import jpeg
from explorer.ui.cells import CHART
from explorer.ui.lessons.lesson import Lesson, Scene
from explorer.ui.maps import SIDE, percent
from explorer.ui.panels import Panel, panels
from explorer.ui.state import service, waiter
from explorer.ui.view import REFUSED, bound, whole


def _level(text: str) -> object:
    found = whole(0, 90)(text)
    return found if found in PAPER_LEVELS else REFUSED


def _calibration(scene: Scene) -> None:
    with scene.control:
        cut = bound(
            st.slider,
            "learn.cut",
            50,
            _level,
            label="Area removed",
            min_value=PAPER_LEVELS[0],
            max_value=PAPER_LEVELS[-1],
            step=10,
            format="%d%%",
            help="The lowest values of the map go first.",
        )
    _, right = scene.photograph()
    explanation = scene.explanation()
    if explanation is None:
        return
    curve = explanation.calibration
    if curve is None:
        st.caption("Measuring the curve …")
        return
    measured = dict(zip(curve.removed, curve.probabilities, strict=True))
    best = max(measured.values())
    with scene.numbers:
        st.latex(rf"p_c(x \odot S_{{{cut}}}) = \mathbf{{{measured[cut]:.3f}}},\quad t^\ast = {curve.cut}\%")
        st.caption(
            f"The whole picture has {percent(curve.probability)}, the best cut, marked by a star, {percent(best)}."
        )
    title = explanation.request.method.title
    st.plotly_chart(
        calibration_chart(
            [
                Cuts(
                    title,
                    curve.removed,
                    curve.probabilities,
                    curve.probability,
                    curve.removed.index(curve.cut),
                )
            ],
            cut,
        ),
        key="learn curve",
        config=CHART,
        alt=f"The calibration curve of {title}: best at {curve.cut}% removed",
    )
    job = scene.board.ask(service().at_cut(scene.row.picture, explanation, cut, "area", waiter()))
    kept, rest = job.result or (None, None)
    name = scene.row.picture.name
    with right:
        scene.map(explanation.attribution, title, "calibrated")
    items = []
    for sight, words, line in ((kept, "Kept at the cut", "under"), (rest, "Taken away", "without")):
        if sight is not None:
            picture = jpeg(Image.fromarray(sight.colours), SIDE)
            alt = f"{name} {line} the map with {cut}% removed"
            items.append(Panel(words, picture, alt, (f"{scene.label}: {percent(sight.probability)}",)))
    panels(items)


CALIBRATION = Lesson(
    "Calibration: where to cut",
    "A map fades out slowly. Where does the object end? "
    "Remove the lowest values step by step, and each time ask the network again. "
    "The best cut is where it is surest of the class. That works for every map.",
    r"t^\ast = \arg\max_t\; p_c(x \odot S_t)",
    r"$S_t$: the map with the lowest $t$ % of its area set to zero; $t^\ast$: the best cut.",
    "Move the cut: where does the network lose the class?",
    METHODS["libra-cam"].paper,
    _calibration,
    ("grad-cam",),
)
