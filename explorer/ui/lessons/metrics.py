"""What metrics reward, and how a map that explains nothing wins one of them."""

import streamlit as st
from PIL import Image

from explorer.compute import Explanation, Figures
from explorer.evaluation.summary import TIE
from explorer.methods import METHODS
from explorer.metrics import Kept, Metric, find
from explorer.render.overlay import jpeg
from explorer.ui.lessons.lesson import Lesson, Scene
from explorer.ui.maps import SIDE, percent
from explorer.ui.panels import Bar, Panel, bars, panels
from explorer.ui.state import service, waiter
from explorer.ui.view import segmented

_METRICS: dict[str, Metric] = {
    name: find(name)() for name in ("average-drop", "average-gain", "adcc", "insertion", "deletion")
}


def _fooled(scene: Scene) -> None:
    with scene.control:
        name = segmented(
            "learn.metric",
            "average-drop",
            _METRICS,
            label="Measured by",
            format_func=lambda name: _METRICS[name].title,
            required=True,
            help="Average drop and deletion: lower is better. The others: higher is better.",
        )
    scene.photograph()
    jobs = [cell.job for cell in scene.row.cells]
    maps = [job.result for job in jobs if job.result is not None]
    for place, job in enumerate(jobs):
        if job.settled and (job.result is None or job.result.attribution.blank is not None):
            scene.explanation(place)
    found = [(one, _measure(scene, one)) for one in maps if one.attribution.blank is None]
    measured = [(one, figures) for one, figures in found if figures is not None]
    if not all(job.settled for job in jobs) or len(measured) < len(found):
        st.caption("Measuring the figures …")
        return
    metric = _METRICS[name]
    values = {one.request.method.title: figures.plain[name] for one, figures in measured}
    lead = max(values.values()) if metric.better == "higher" else min(values.values())
    best = [title for title, value in values.items() if abs(value - lead) <= TIE]
    with scene.numbers:
        st.latex(_formula(metric, measured[-1][1], scene.probability))
        st.caption(_verdict(metric, best))
        st.caption(f"{metric.good} {metric.bad}")
    st.markdown(f"**{metric.title}**, {metric.better} is better; the best is bold")
    bars(Bar(title, value, percent(value), title in best) for title, value in values.items())
    st.markdown("**What each map leaves of the picture**")
    panels([_masked(scene, one) for one, _ in measured])
    st.markdown("**All figures**")
    heads = "".join(f" {one.title} ({'↓' if one.better == 'lower' else '↑'}) |" for one in _METRICS.values())
    rows = "".join(
        f"\n| {one.request.method.title} |" + "".join(f" {percent(figures.plain[key])} |" for key in _METRICS)
        for one, figures in measured
    )
    st.markdown(f"| Map |{heads}\n|---|{'---|' * len(_METRICS)}{rows}")


def _measure(scene: Scene, explanation: Explanation) -> Figures | None:
    job = scene.board.watch(
        service().figures(scene.row.picture, explanation.request, tuple(_METRICS.values()), waiter())
    )
    figures: Figures | None = job.result
    return figures


def _masked(scene: Scene, explanation: Explanation) -> Panel:
    job = scene.board.ask(service().perturbed(scene.row.picture, explanation, Kept(), waiter()))
    title = explanation.request.method.title
    alt = f"{scene.row.picture.name} under the map of {title}"
    saliency = explanation.attribution.saliency
    shown = scene.overlaid(saliency) if job.result is None else jpeg(Image.fromarray(job.result), SIDE)
    return Panel(title, shown, alt, (f"complexity {percent(float(saliency.mean()))}",))


def _formula(metric: Metric, figures: Figures, whole: float) -> str:
    """The metric of Fake-CAM in numbers."""
    value = figures.plain[metric.name]
    return rf"\mathrm{{{metric.symbol}}}_{{\text{{Fake-CAM}}}} = \mathbf{{{value:.3f}}},\quad p = {whole:.3f}"


def _verdict(metric: Metric, best: list[str]) -> str:
    fake = METHODS["fake-cam"].title
    if fake in best:
        others = [title for title in best if title != fake]
        beside = f", level with {' and '.join(others)}" if others else ", before all others"
        name = metric.title.lower()
        return f"By {name} Fake-CAM is best{beside}. It hides one pixel and has not looked at the network."
    return f"By {metric.title} Fake-CAM is not best: {' and '.join(best)} {'are' if len(best) > 1 else 'is'}."


FOOLED = Lesson(
    "What metrics reward",
    "How good is a map? Average drop asks how much of the probability is lost under it. "
    "Fake-CAM shows everything but one pixel: nothing is lost, and nothing is explained. "
    "Average gain asks what is won, and ADCC also asks for a small map, so they are not fooled. "
    "Insertion and deletion ask in which order the pixels matter, whatever the values of the map.",
    r"\begin{gathered} \mathrm{AD} = \frac{\max(0, p - o)}{p} \\[1ex] "
    r"\mathrm{AG} = \frac{\max(0, o - p)}{1 - p} \end{gathered}",
    r"$p$: the probability on the picture; $o$: under the map. ADCC is the harmonic mean of coherency, "
    r"$1 - \text{complexity}$ and $1 - \mathrm{AD}$. Insertion and deletion: areas under the probability as pixels "
    "come back or go, the highest of the map first.",
    "Change the metric: when does Fake-CAM win?",
    METHODS["fake-cam"].paper,
    _fooled,
    ("grad-cam", "libra-cam", "fake-cam"),
)
