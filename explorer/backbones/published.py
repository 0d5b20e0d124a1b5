"""The weights that torchvision and timm publish, by the names used here."""

from typing import Any

import timm
import torchvision.models

from explorer.errors import ExplorerError


class UnknownBackboneError(ExplorerError):
    """A name that no source of backbones knows; the sentence says what there is."""


def torchvision_weights(name: str) -> Any:
    """torchvision's entry of the weights ``NAME.WEIGHTS``, or of those that ``NAME`` loads.

    Raises:
        UnknownBackboneError: no such classifier, or none with such weights.
    """
    architecture, _, wanted = name.partition(".")
    if architecture not in torchvision.models.list_models(module=torchvision.models):
        raise UnknownBackboneError(
            f"There is no backbone {name[:80]!r}. `python -m explorer backbones` lists the names; "
            "timm's models are written timm:NAME."
        )
    entries = torchvision.models.get_model_weights(architecture)
    wanted = wanted or ("IMAGENET1K_V1" if "IMAGENET1K_V1" in entries.__members__ else "DEFAULT")
    if wanted not in entries.__members__:
        raise UnknownBackboneError(
            f"{architecture} has no weights {wanted[:80]!r}; there are {', '.join(entries.__members__)}."
        )
    return entries[wanted]


def timm_weights(name: str) -> tuple[str, Any]:
    """timm's own name of ``timm:NAME``, and the configuration of its weights, None where it publishes none.

    Raises:
        UnknownBackboneError: no such model, or none with such weights.
    """
    identifier = name.removeprefix("timm:")
    if not timm.is_model(identifier):
        near = ", ".join(timm.list_models(f"*{identifier[:8]}*", pretrained=True)[:4]) or "timm.list_models()"
        raise UnknownBackboneError(f"timm knows no model {identifier[:80]!r}; near it: {near}.")
    try:
        return identifier, timm.get_pretrained_cfg(identifier)
    except RuntimeError as error:
        raise UnknownBackboneError(f"timm has no weights {identifier[:80]!r}: {error}") from error
