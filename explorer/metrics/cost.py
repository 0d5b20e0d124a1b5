"""What measuring a map takes."""

from functools import lru_cache

from explorer.calibration import PAPER_LEVELS
from explorer.metrics.base import Metric
from explorer.metrics.perturbation import Kept

_CUT = 50  # percent; half-way between what a calibration may recommend


@lru_cache(maxsize=1024)
def passes_of(metrics: tuple[Metric, ...], pixels: int, method: int, cut: int = _CUT) -> int:
    """About how many forward passes it takes to calibrate a map by the paper's ten levels, and to measure it plain and
    calibrated; what several metrics ask for counts once.

    Args:
        pixels: of the map.
        method: passes of the method that makes it.
        cut: percent of the map that its calibration removes.
    """
    plain = {one for metric in metrics for one in metric.perturbations(pixels)}
    calibrated = {one.of_cut_map(cut, pixels) for one in plain} if cut else plain
    shown = {Kept(level) for level in PAPER_LEVELS} | plain | calibrated
    remade = {one for metric in metrics for one in metric.remade()}
    further = sum(metric.unshared() for metric in metrics)
    return len(shown) + len(remade) * (2 * method + len(PAPER_LEVELS)) + 2 * further
