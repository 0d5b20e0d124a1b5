"""The section of the Libra lab on threshold calibration: the curves of all maps, and the picture at the cut."""

from typing import get_args

import streamlit as st
from PIL import Image

from explorer.calibration import FINE_LEVELS, PAPER_LEVELS, By, Curve, Objective
from explorer.compute import Explanation, Sight
from explorer.render.charts import Cuts, calibration_chart
from explorer.render.overlay import jpeg
from explorer.ui.board import Board, Row
from explorer.ui.canvas import Look
from explorer.ui.cells import CHART
from explorer.ui.gallery import Item, gallery
from explorer.ui.maps import SIDE, percent
from explorer.ui.state import service, waiter
from explorer.ui.view import segmented, toggled

_UP = {
    "probability": "Probability of the class",
    "gain": "Gain in probability",
    "logit": "Score of the class (logit)",
}
_ACROSS = {
    "area": "Area removed, lowest values first (%)",
    "value": "Removed below this share of the highest value (%)",
}


def cuts(board: Board, row: Row, look: Look) -> None:
    """Draws the section."""
    st.caption(
        "The lowest values of each map are removed step by step, and the network is asked again each time. The star "
        "marks the recommended cut: where the class is strongest."
    )
    by, objective, fine, released = _controls()
    curves = []
    for explanation in row.explanations:
        levels = FINE_LEVELS if fine else PAPER_LEVELS
        job = board.watch(service().curve(row.picture, explanation, levels, by, waiter()))
        if job.result is not None:
            curves.append((explanation, job.result))
    if not curves:
        st.caption("Measuring the curves …")
        return
    st.plotly_chart(
        calibration_chart(
            [_drawn(explanation, curve, objective, released) for explanation, curve in curves],
            look.cut if by == "area" else None,
            across=_ACROSS[by],
            up=_UP[objective],
        ),
        key=f"cuts {row.picture.digest}",
        config=CHART,
        alt=f"Calibration curves of {', '.join(one.request.method.title for one, _ in curves)}",
    )
    if released:
        st.caption(
            "A diamond marks the cut of the code that Libra-CAM's authors released: it applies the level after the "
            "best one. After the last level that is 100%, and nothing is kept."
        )
    chosen = "the recommended cut" if look.cut is None else f"the cut chosen above, {look.cut}% of the area"
    st.caption(
        f"What the network sees at {chosen}: the picture under the map, and what is left when that part is taken away. "
        "A good map keeps the class in the first and takes it from the second."
    )
    gallery(
        [
            item
            for explanation, curve in curves
            for item in _sights(board, row, explanation, curve, objective, look)
        ]
    )


def _controls() -> tuple[By, Objective, bool, bool]:
    columns = st.columns([1.3, 1, 1.2], vertical_alignment="bottom")
    with columns[0]:
        objective: Objective = segmented(
            "cuts.objective",
            "probability",
            get_args(Objective),
            label="Objective",
            format_func=str.capitalize,
            required=True,
            help="What the best cut makes largest: the probability of the class, its gain over the whole picture, or "
            "the class's own score before it is weighed against other classes (logit).",
        )
    with columns[1]:
        by: By = segmented(
            "cuts.by",
            "area",
            get_args(By),
            label="Cut by",
            format_func=str.capitalize,
            required=True,
            help="Remove a share of the picture's area, or everything below a share of the map's highest value.",
        )
    with columns[2]:
        fine = toggled(
            "cuts.fine",
            label="46 levels",
            help="Steps of 2% instead of the paper's ten steps of 10%.",
        )
        released = toggled(
            "cuts.released",
            label="Released code's cut",
            help="Also mark where the code that the authors released would cut: one level further than it tested best.",
        )
    return by, objective, fine, released


def _drawn(explanation: Explanation, curve: Curve, objective: Objective, released: bool) -> Cuts:
    after = curve.best(objective, official=True)
    return Cuts(
        explanation.request.method.title,
        curve.levels,
        curve.values(objective),
        curve.whole(objective),
        curve.best(objective),
        (*curve.levels, 100)[after] if released else None,
    )


def _sights(
    board: Board, row: Row, explanation: Explanation, curve: Curve, objective: Objective, look: Look
) -> list[Item]:
    best = curve.best(objective)
    cut, by, removed = curve.levels[best], curve.by, curve.removed[best]
    if look.cut is not None:
        cut, by, removed = look.cut, "area", float(look.cut)
    job = board.ask(service().at_cut(row.picture, explanation, cut, by, waiter()))
    title = explanation.request.method.title
    kept, rest = job.result or (None, None)
    area = f"{removed:.0f}% of the area removed"
    return [
        _item(kept, f"{title}: kept", f"{row.picture.name} under the map of {title}, {area}", area),
        _item(
            rest, f"{title}: taken away", f"{row.picture.name} without what {title} keeps, {area}", "the rest"
        ),
    ]


def _item(sight: Sight | None, title: str, alt: str, line: str) -> Item:
    if sight is None:
        return Item(None, alt, title, ("measuring …",))
    return Item(
        jpeg(Image.fromarray(sight.colours), SIDE),
        alt,
        title,
        (f"probability {percent(sight.probability)}", line),
    )
