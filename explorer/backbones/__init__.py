"""What is explained: classifiers with their weights, preprocessing and labels, cut into trunk and head."""

from explorer.backbones.backbone import Backbone, Cut, UnknownLayerError
from explorer.backbones.checkpoint import CheckpointError, from_checkpoint
from explorer.backbones.cut import Layer, Opaque, UntraceableError
from explorer.backbones.narrow import LastLayer
from explorer.backbones.preprocessing import Preprocessing
from explorer.backbones.randomised import randomised, same_layer
from explorer.backbones.registry import (
    DEFAULT_BACKBONE,
    BackboneInfo,
    UnknownBackboneError,
    info,
    load,
    names,
)
from explorer.backbones.weights import WeightsUnavailableError

__all__ = [
    "DEFAULT_BACKBONE",
    "Backbone",
    "BackboneInfo",
    "CheckpointError",
    "Cut",
    "LastLayer",
    "Layer",
    "Opaque",
    "Preprocessing",
    "UnknownBackboneError",
    "UnknownLayerError",
    "UntraceableError",
    "WeightsUnavailableError",
    "from_checkpoint",
    "info",
    "load",
    "names",
    "randomised",
    "same_layer",
]
