"""LIFT-CAM: the score shared among the channels."""

import streamlit as st

from explorer.methods import METHODS
from explorer.render.charts import removal_chart
from explorer.ui.cells import CHART
from explorer.ui.lessons.lesson import Lesson, Scene
from explorer.ui.panels import Panel, panels
from explorer.ui.view import REFUSED, bound, whole
from explorer.walk import Removing

_ALL = 9999
_COUNTS = (0, *(2**power for power in range(10)), _ALL)


def _removed(text: str) -> object:
    found = whole(0, _ALL)(text)
    return found if found in _COUNTS else REFUSED


def _lift_cam(scene: Scene) -> None:
    with scene.control:
        wanted = bound(
            st.select_slider,
            "learn.removed",
            _ALL,
            _removed,
            label="Channels taken away",
            options=_COUNTS,
            format_func=lambda count: "all" if count == _ALL else str(count),
            help="Together, those with the largest shares first.",
        )
    _, right = scene.photograph()
    walked = scene.walk(Removing())
    if walked is None:
        return
    at = max(place for place, count in enumerate(walked.counts) if count <= wanted)
    count, predicted = walked.counts[at], walked.predicted()
    fall, shares = float(walked.logits[0] - walked.logits[at]), float(walked.shares[:count].sum())
    with scene.numbers:
        st.latex(
            rf"\begin{{gathered}} y_c(A) - y_c(A \setminus R) = \mathbf{{{fall:.3f}}} \\ "
            rf"\textstyle\sum_{{k \in R}} \alpha_k = \mathbf{{{shares:.3f}}} \end{{gathered}}"
        )
        st.caption(_account(count, len(walked.channels), fall, shares, walked.rest))
    st.markdown("**Three channels**, each taken away alone")
    panels(
        Panel(
            f"Channel {int(channel)}",
            shown,
            f"The numbers of channel {int(channel)}",
            (f"the logit falls by {float(drop):.3f}", f"LIFT-CAM's share: {float(share):.3f}"),
        )
        for channel, shown, drop, share in zip(
            walked.channels[:3], walked.maps[:3], walked.falls[:3], walked.shares[:3], strict=True
        )
    )
    st.markdown("**More and more taken away together**")
    st.plotly_chart(
        removal_chart(walked.counts, walked.logits.tolist(), predicted.tolist(), at),
        key="learn removal",
        config=CHART,
        alt="The logit while channels are taken away, by the network and by the sum of the shares",
    )
    with right:
        scene.map(walked.made, "LIFT-CAM", "lift")


def _account(count: int, total: int, fall: float, shares: float, rest: float) -> str:
    if count == total and abs(rest) > 1e-3:
        return f"The class token, which is no channel, adds the other {rest:.3f}."
    close = abs(fall - shares) <= 1e-2 * max(1.0, abs(fall))
    if count == total and close:
        return f"All {total} channels are gone: the shares add up to the whole difference."
    if close:
        return f"Without {count} channels the logit falls by the sum of their shares."
    return (
        f"Without {count} channels the logit falls by something else than the sum of their shares: these channels "
        "depend on each other. Only all shares together must add up."
    )


LIFT_CAM = Lesson(
    "SHAP and LIFT-CAM: fair shares",
    "Take a channel away, and the logit falls: that is what the channel was worth. "
    "But channels depend on each other. Shapley values share the score fairly, and LIFT-CAM comes near to them in one "
    "pass. All shares together are exactly the difference that all channels make.",
    r"\sum_{k} \alpha_k = y_c(A) - y_c(0)",
    r"$\alpha_k$: the share of channel $k$; $y_c(A)$: the logit; $y_c(0)$: the logit without any channel; "
    r"$R$: the channels taken away.",
    "Take away more channels and compare the two numbers.",
    METHODS["lift-cam"].paper,
    _lift_cam,
)
