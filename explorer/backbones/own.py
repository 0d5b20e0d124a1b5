"""The user's own models, kept on this machine: an architecture of torchvision or timm with weights of one's own."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from explorer.backbones.backbone import Backbone
from explorer.backbones.checkpoint import from_checkpoint, read_state
from explorer.backbones.preprocessing import Preprocessing
from explorer.errors import ExplorerError, first_line
from explorer.home import home, is_name

PREFIX = "own:"
_WEIGHTS, _INDEX = "weights.safetensors", "model.json"


class OwnModelError(ExplorerError):
    """A model that is not kept here, or cannot be; the sentence gives the remedy."""


@dataclass(frozen=True)
class OwnModel:
    """A model of the user's own.

    Args:
        name: as the user calls it.
        labels: a name for each class.
        source: the name of the file that its weights come from.
        fingerprint: (hex) of weights, architecture, labels and preprocessing.
    """

    name: str
    architecture: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    source: str
    fingerprint: str

    @property
    def identifier(self) -> str:
        """The name as a backbone; another content has another one, so that nothing made by one is taken for the
        other's."""
        return f"{PREFIX}{self.name}-{self.fingerprint[:8]}"

    @property
    def folder(self) -> Path:
        return _folder(self.fingerprint)

    @property
    def megabytes(self) -> float:
        """0 once it is deleted."""
        with suppress(OSError):
            return (self.folder / _WEIGHTS).stat().st_size / 1e6
        return 0.0


def keep(
    name: str,
    architecture: str,
    path: Path,
    labels: Sequence[str] | Path | None = None,
    seen: Mapping[str, Any] | None = None,
    source: str | None = None,
) -> OwnModel:
    """Keeps a model under a name, once it is found to work; see ``from_checkpoint``.

    Args:
        source: what the file is called, where ``path`` does not say it.

    Raises:
        OwnModelError: a name that cannot be one, or the disk refuses.
        ExplorerError: as ``from_checkpoint``.
    """
    if not is_name(name):
        raise OwnModelError(f"{name[:60]!r} cannot name a model: use 1 to 60 printable characters.")
    source = source or path.name
    backbone = from_checkpoint(architecture, path, labels, seen=seen, name=source)
    fingerprint = _fingerprint(name, architecture, backbone)
    model = OwnModel(name, architecture, backbone.labels, backbone.preprocessing, source, fingerprint)
    try:
        _write(model, path)
    except (OSError, SafetensorError) as error:
        raise OwnModelError(
            f"The model cannot be written to {home()} ({first_line(error)}): free space there, or set EXPLORER_HOME to "
            "another folder."
        ) from error
    return model


def own_models() -> list[OwnModel]:
    """The models that are kept here, by name."""
    found = []
    for path in (home() / "models").glob(f"*/{_INDEX}"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            model = _read(json.loads(path.read_text("utf-8")))
            if model.folder == path.parent and (path.parent / _WEIGHTS).is_file():
                found.append(model)
    return sorted(found, key=lambda model: (model.name, model.fingerprint))


def find_own(identifier: str) -> OwnModel:
    """The model of this identifier, or of this name where only one bears it.

    Raises:
        OwnModelError: there is none, or there are several.
    """
    models, wanted = own_models(), identifier.removeprefix(PREFIX)
    for model in models:
        if model.identifier == PREFIX + wanted:
            return model
    named = [model for model in models if model.name == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        listed = ", ".join(model.identifier for model in named)
        raise OwnModelError(f"{len(named)} models are called {wanted!r}: choose one of {listed}.")
    known = ", ".join(model.identifier for model in models[:5]) or "none"
    raise OwnModelError(
        f"There is no model {wanted[:80]!r} on this machine (there is: {known}): add it with `python -m explorer "
        "model add`, or on the page Your model."
    )


def load_own(identifier: str, device: torch.device | str = "cpu") -> Backbone:
    """The model of this identifier.

    Raises:
        OwnModelError: there is none, ``identifier`` is only its name, or its files are damaged.
    """
    model = find_own(identifier)
    if model.identifier != identifier:  # which another model can bear tomorrow
        raise OwnModelError(f"{identifier!r} is only a name: the backbone is {model.identifier}.")
    path = model.folder / _WEIGHTS
    backbone = from_checkpoint(
        model.architecture,
        path,
        model.labels,
        device,
        seen=vars(model.preprocessing),
        name=model.identifier,
    )
    if _fingerprint(model.name, model.architecture, backbone) != model.fingerprint:
        raise OwnModelError(
            f"The files of {model.identifier} have changed: delete the model, and add it again."
        )
    return backbone


def delete(model: OwnModel) -> None:
    """Removes a model; what was made with it stays.

    Raises:
        OwnModelError: it cannot be removed.
    """
    try:
        shutil.rmtree(model.folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OwnModelError(
            f"{model.identifier} cannot be deleted from {home()} ({error.strerror}): allow writing there."
        ) from error


def _write(model: OwnModel, path: Path) -> None:
    """Whole or not at all."""
    models = home() / "models"
    models.mkdir(parents=True, exist_ok=True)
    if model in own_models():
        return
    with tempfile.TemporaryDirectory(dir=models, prefix=".") as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        # Tensors that share memory are written apart: safetensors has no other way.
        state = read_state(model.architecture, path)
        whole = {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}
        save_file(whole, made / _WEIGHTS)
        (made / _INDEX).write_text(json.dumps(asdict(model)), "utf-8")
        shutil.rmtree(model.folder, ignore_errors=True)
        made.rename(model.folder)


def _read(content: dict[str, Any]) -> OwnModel:
    seen = content["preprocessing"]
    resize = seen["resize"]
    preprocessing = Preprocessing(
        resize if isinstance(resize, int) else (resize[0], resize[1]),
        (seen["crop"][0], seen["crop"][1]),
        seen["interpolation"],
        tuple(seen["mean"]),
        tuple(seen["std"]),
    )
    return OwnModel(
        str(content["name"]),
        str(content["architecture"]),
        tuple(map(str, content["labels"])),
        preprocessing,
        str(content["source"]),
        str(content["fingerprint"]),
    )


def _fingerprint(name: str, architecture: str, backbone: Backbone) -> str:
    content = repr((name, architecture, backbone.digest, backbone.labels, backbone.preprocessing))
    return hashlib.sha256(content.encode()).hexdigest()


def _folder(fingerprint: str) -> Path:
    return home() / "models" / hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
