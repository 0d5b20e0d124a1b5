"""The user's own weights in an architecture of torchvision or timm."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision.models
from safetensors.torch import load_file
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from explorer.backbones import weights
from explorer.backbones.backbone import Backbone
from explorer.backbones.preprocessing import Preprocessing, from_timm, from_torchvision
from explorer.backbones.published import timm_weights, torchvision_weights
from explorer.errors import ExplorerError, first_line

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "nearest")
_LARGEST = 1024
_AUXILIARY = ("googlenet", "inception_v3")


class CheckpointError(ExplorerError):
    """A checkpoint that does not fit its architecture or its labels; the sentence says where."""


def from_checkpoint(
    architecture: str,
    path: Path,
    labels: Sequence[str] | Path | None = None,
    device: torch.device | str = "cpu",
    *,
    seen: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Backbone:
    """A backbone of your own weights.

    Args:
        architecture: a classifier of torchvision, or ``timm:NAME``.
        path: a state dict, as ``.safetensors`` or by ``torch.save``, perhaps as the entry "state_dict" or "model" of
            what was saved, perhaps with every name after one prefix, such as "module." or "model.". No code in it is
            run.
        labels: a name for each class, in order, or a file with one on each line; None for "class 0", "class 1" ...
        seen: the fields of ``Preprocessing`` in which it differs from that of the architecture's default weights.
        name: of the backbone, and of the file in messages; by default the file's own.

    Raises:
        UnknownBackboneError: no such architecture.
        WeightsUnavailableError: the file is missing, damaged or no state dict.
        CheckpointError: the weights do not fit the architecture, the labels not the weights, or a field of ``seen``
            cannot be, or a tensor claims more values than the file holds.
        UntraceableError: torch.fx cannot trace the architecture.
    """
    make, usual = _architecture(architecture)
    state = read_state(architecture, path, name)
    if any(_claims_more(value) for value in state.values()):
        raise CheckpointError(f"{name or path} claims more values than it holds: save the state dict again.")
    model = make(**_heads(architecture, state))
    *_, last = expected = model.state_dict()  # a parameter of the classifier, in every architecture of both
    if last in state and state[last].dim() and len(state[last]) != len(expected[last]):
        model = make(**_heads(architecture, state), num_classes=len(state[last]))
        expected = model.state_dict()
    misfit = _misfit(expected, state)
    if misfit is not None:
        raise CheckpointError(
            f"{name or path} does not fit {architecture} ({misfit}): name the architecture that was trained."
        )
    expected.update(state)  # which keeps the versions of the modules
    model.load_state_dict(expected)
    names = _labels(labels, len(state[last]), name or str(path))
    return Backbone(name or path.stem, model, _seen(usual(model), seen or {}), names, device)


def _architecture(name: str) -> tuple[Callable[..., nn.Module], Callable[[nn.Module], Preprocessing]]:
    """How a model without weights is made, and what it sees of a picture."""
    if name.startswith("timm:"):
        make = partial(timm.create_model, timm_weights(name)[0])
        return make, lambda model: from_timm(resolve_model_data_config(model))
    entry = torchvision_weights(name)
    make = partial(torchvision.models.get_model, name.split(".")[0])
    return make, lambda model: from_torchvision(entry.transforms())


def read_state(architecture: str, path: Path, name: str | None = None) -> dict[str, Tensor]:
    """The tensors by name in a checkpoint; see ``from_checkpoint``."""
    with weights.reading(
        architecture, name or str(path), "give a state dict, as safetensors or by torch.save"
    ):
        saved: Any
        if path.suffix == ".safetensors":
            saved = load_file(path)
        else:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        for nest in ("state_dict", "model"):
            if isinstance(saved, dict) and isinstance(saved.get(nest), dict):
                saved = saved[nest]
        if not isinstance(saved, dict) or not all(isinstance(value, Tensor) for value in saved.values()):
            raise TypeError("no tensors by name")
        prefix = _wrapping(saved)
        return {name.removeprefix(prefix): value for name, value in saved.items()}


def _wrapping(names: Iterable[str]) -> str:
    """What all names stand after, as the parts of one module do: "module.", "model." or "net.model."."""
    parts = [name.split(".")[:-1] for name in names]
    shared = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
    return "".join(f"{level[0]}." for level in shared)


def _heads(architecture: str, state: Mapping[str, Tensor]) -> dict[str, bool]:
    """Whether an architecture that trains with auxiliary classifiers is made with them: as the weights have them."""
    if architecture.split(".")[0] not in _AUXILIARY:
        return {}
    return {"aux_logits": any(name.lower().startswith("aux") for name in state)}


def _seen(usual: Preprocessing, changes: Mapping[str, Any]) -> Preprocessing:
    changed = replace(usual, **changes)
    resize = changed.resize if isinstance(changed.resize, tuple) else (changed.resize,)
    if not all(1 <= side <= _LARGEST for side in (*resize, *changed.crop)):
        raise CheckpointError(
            f"Pictures are resized and cropped to 1 to {_LARGEST} pixels: give sides in that range."
        )
    if changed.interpolation not in INTERPOLATIONS:
        raise CheckpointError(
            f"There is no interpolation {changed.interpolation[:40]!r}: choose one of {', '.join(INTERPOLATIONS)}."
        )
    if not all(map(math.isfinite, changed.mean)) or not all(0 < std < math.inf for std in changed.std):
        raise CheckpointError("Means must be finite numbers and deviations positive ones: correct them.")
    return changed


def _claims_more(value: Tensor) -> bool:
    """Whether a tensor has more values than are stored, as one that was expanded has: a small file can so fill the
    memory."""
    return value.untyped_storage().nbytes() < value.numel() * value.element_size()


def _misfit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    """The first tensor that does not fit, where there is one. Old files count no batches."""
    for name in expected:
        if name not in state and not name.endswith("num_batches_tracked"):
            return f"{name} is missing"
    for name in state:
        if name not in expected:
            return f"{name} has no place there"
    for name, value in expected.items():
        if name in state and state[name].shape != value.shape:
            return f"{name} has the shape {tuple(state[name].shape)} instead of {tuple(value.shape)}"
    return None


def _labels(labels: Sequence[str] | Path | None, classes: int, file: str) -> tuple[str, ...]:
    if labels is None:
        return tuple(f"class {index}" for index in range(classes))
    try:
        names = tuple(labels.read_text("utf-8").splitlines() if isinstance(labels, Path) else labels)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{labels} cannot be read as labels ({first_line(error)}): it must be a text file, one name a line."
        ) from error
    if len(names) != classes:
        source = labels if isinstance(labels, Path) else "The list of labels"
        raise CheckpointError(
            f"{source} has {len(names)} names, but {file} has {classes} classes: give one for each."
        )
    return names
