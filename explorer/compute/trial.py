"""A model of the user's own, looked at before it is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from explorer.backbones import Layer, Preprocessing, from_checkpoint
from explorer.compute.engine import Prediction
from explorer.images import Picture


@dataclass(frozen=True)
class Trial:
    """What a model turned out to be.

    Args:
        labels: a name for each class.
        layers: that can be explained, from the input to the logits.
        best: the names of the most probable classes of a picture, with their probabilities; of none without one.
    """

    labels: tuple[str, ...]
    layers: tuple[Layer, ...]
    preprocessing: Preprocessing
    best: tuple[tuple[str, float], ...]


def try_out(
    architecture: str,
    path: Path,
    labels: Sequence[str] | None,
    seen: Mapping[str, Any],
    source: str,
    picture: Picture | None,
    device: torch.device | str = "cpu",
) -> Trial:
    """Loads a model and shows it a picture.

    Raises:
        ExplorerError: as ``from_checkpoint``.
    """
    backbone = from_checkpoint(architecture, path, labels, device, seen=seen, name=source)
    best: tuple[tuple[str, float], ...] = ()
    if picture is not None:
        image = backbone.preprocessing.tensor(picture)[None].to(backbone.device)
        with torch.inference_mode():
            chances = backbone(image)[0].softmax(0).cpu()
        says = Prediction(chances, backbone.labels, backbone.preprocessing.box(picture))
        best = tuple((says.labels[index], float(chances[index])) for index in says.top(3))
    return Trial(backbone.labels, backbone.layers, backbone.preprocessing, best)
