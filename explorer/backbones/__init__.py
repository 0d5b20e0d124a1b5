"""What is explained: classifiers with their weights, preprocessing and labels, cut into trunk and head."""

from explorer.backbones.backbone import Backbone, Cut, Speed, UnknownLayerError, layer_called
from explorer.backbones.checkpoint import INTERPOLATIONS, CheckpointError, from_checkpoint
from explorer.backbones.cut import Layer, Opaque, UntraceableError
from explorer.backbones.narrow import LastLayer
from explorer.backbones.own import PREFIX, OwnModel, OwnModelError, delete, find_own, keep, own_models
from explorer.backbones.preprocessing import Preprocessing
from explorer.backbones.published import UnknownBackboneError
from explorer.backbones.randomised import randomised, same_layer
from explorer.backbones.registry import (
    DEFAULT_BACKBONE,
    BackboneInfo,
    info,
    load,
    names,
)
from explorer.backbones.weights import WeightsUnavailableError

__all__ = [
    "DEFAULT_BACKBONE",
    "INTERPOLATIONS",
    "PREFIX",
    "Backbone",
    "BackboneInfo",
    "CheckpointError",
    "Cut",
    "LastLayer",
    "Layer",
    "Opaque",
    "OwnModel",
    "OwnModelError",
    "Preprocessing",
    "Speed",
    "UnknownBackboneError",
    "UnknownLayerError",
    "UntraceableError",
    "WeightsUnavailableError",
    "delete",
    "find_own",
    "from_checkpoint",
    "info",
    "keep",
    "layer_called",
    "load",
    "names",
    "own_models",
    "randomised",
    "same_layer",
]
