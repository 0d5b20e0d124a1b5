"""CAM Explorer: where class-activation methods say a network looked, and where to cut their maps.

from explorer import explain
explanation = explain("photo.jpg", method="libra-cam")
"""

from functools import cache
from pathlib import Path

from explorer.backbones import DEFAULT_BACKBONE, Backbone, Opaque, Preprocessing
from explorer.calibration import Calibration, calibrate, cut_map
from explorer.compute import Engine, Explanation, Figures, Request
from explorer.declaration import Quality
from explorer.errors import ExplorerError
from explorer.images import Picture, load, sample
from explorer.library import BUILT_IN
from explorer.methods import METHODS, Method, find
from explorer.metrics import METRICS, Metric
from explorer.probe import Probe

__all__ = [
    "METHODS",
    "METRICS",
    "Backbone",
    "Calibration",
    "Engine",
    "Explanation",
    "ExplorerError",
    "Figures",
    "Metric",
    "Opaque",
    "Picture",
    "Preprocessing",
    "Probe",
    "Request",
    "calibrate",
    "cut_map",
    "explain",
    "load",
    "sample",
]


def explain(
    photo: str | Path | Picture,
    *,
    method: str | Method = "libra-cam",
    backbone: str | Backbone = DEFAULT_BACKBONE,
    layer: str | None = None,
    target: int | str | None = None,
    library: str = BUILT_IN,
    quality: Quality = "standard",
) -> Explanation:
    """Explains a photograph.

    Args:
        photo: a path, or a picture from ``load`` or ``sample``.
        method: a registered name, or a method with its options.
        backbone: a registered name, or a backbone of your own.
        target: class index, or a class by its name; None for the predicted class.
        quality: of a method given by its name: "quick" for a first look, "paper" as the paper or its released code
            states.

    Raises:
        ExplorerError: any refusal, in one sentence.
    """
    picture = photo if isinstance(photo, Picture) else load(Path(photo))
    chosen = find(method).preset(quality) if isinstance(method, str) else method
    if isinstance(backbone, Backbone):
        _engine().add(backbone)
        backbone = backbone.name
    return _engine().explain(picture, Request(backbone, layer, chosen, target, library))


@cache
def _engine() -> Engine:
    return Engine()
