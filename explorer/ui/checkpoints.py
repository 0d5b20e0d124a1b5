"""A checkpoint of the visitor's own: where it lies, and what the form says of it."""

import io
import os
import tempfile
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from explorer import backbones
from explorer.backbones import INTERPOLATIONS
from explorer.ui.view import bound, network, one_of, selected, view, whole

_KINDS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_UPLOAD = "upload a file"
_LARGEST_SIDE = 1024  # pixels


@dataclass(frozen=True)
class File:
    """A checkpoint on the server, or uploaded; equal identities are equal contents."""

    name: str
    identity: str
    place: Path | io.BytesIO
    labels: Path | None = None

    def names(self) -> list[str] | None:
        """The class names that lie beside it."""
        if self.labels is None:
            return None
        try:
            return self.labels.read_text("utf-8", "replace").splitlines()
        except OSError:
            return None

    @contextmanager
    def path(self) -> Iterator[Path]:
        if isinstance(self.place, Path):
            yield self.place
            return
        with tempfile.TemporaryDirectory() as folder:
            kind = next((kind for kind in _KINDS if self.name.lower().endswith(kind)), ".pt")
            path = Path(folder) / f"weights{kind}"
            path.write_bytes(self.place.getbuffer())
            yield path


@dataclass(frozen=True)
class Model:
    """What the form says."""

    file: File
    architecture: str
    labels: tuple[str, ...] | None
    seen: tuple[tuple[str, Any], ...]

    @property
    def key(self) -> tuple[Hashable, ...]:
        return self.file.identity, self.architecture, self.labels, self.seen


def form() -> Model | None:
    """Draws what says which weights of which architecture these are; None while it does not."""
    first, second = st.columns(2)
    with first:
        file = _file()
    with second:
        architecture = _architecture()
        sent = st.file_uploader(
            "Class names (optional)",
            type="txt",
            key="class names",
            max_upload_size=1,
            help="A text file with one name a line, in the order of the logits. Without it classes are numbered; "
            "beside a file of the server, a text file of the same name is taken.",
        )
    seen = _seen()
    if file is None or not architecture:
        st.caption("Choose the weights, and the architecture that was trained.")
        return None
    names = sent.getvalue().decode("utf-8", "replace").splitlines() if sent else file.names()
    return Model(file, architecture, None if names is None else tuple(names), seen)


def _file() -> File | None:
    """The chosen checkpoint."""
    files, most = _on_server(), _largest_upload()
    options = [*files, *([_UPLOAD] if most else [])]
    if not options:
        st.info(
            "This server takes no models yet. Its operator can set EXPLORER_MODELS to a folder of checkpoints, or "
            "EXPLORER_MODEL_MB to the size up to which visitors may upload one; or add one by "
            "`python -m explorer model add`."
        )
        return None
    chosen = selected(
        "weights",
        options[0],
        options,
        label="Weights",
        help="A state dict, as safetensors or written by torch.save.",
    )
    if chosen != _UPLOAD:
        return files[chosen]
    sent = st.file_uploader(
        "Checkpoint",
        type=[kind.removeprefix(".") for kind in _KINDS],
        key="checkpoint",
        max_upload_size=most,
        help=f"Up to {most} MB. It stays in this server's memory while it is chosen here.",
    )
    return None if sent is None else File(sent.name, sent.file_id, sent)


def _on_server() -> dict[str, File]:
    """By name, the checkpoints that the operator provides."""
    folder = os.environ.get("EXPLORER_MODELS")
    if not folder or not Path(folder).is_dir():
        return {}
    found = {}
    for path in sorted(Path(folder).iterdir()):
        if path.is_file() and path.suffix.lower() in _KINDS:
            beside, changed = path.with_suffix(".txt"), path.stat().st_mtime_ns
            found[path.name] = File(
                path.name, f"{path} {changed}", path, beside if beside.is_file() else None
            )
    return found


def _largest_upload() -> int:
    """In MB; 0 where the operator allows none."""
    text = os.environ.get("EXPLORER_MODEL_MB", "")
    allowed = int(text) if text.isascii() and text.isdecimal() else 0
    return min(allowed, int(st.get_option("server.maxUploadSize")))


def _architecture() -> str:
    known = [name for name in backbones.names() if not name.startswith("efficientnet_lite")]
    options = [*known, "timm:tf_efficientnet_lite0"]
    parse = network(backbones.names())
    chosen = view().seed("architecture", known[0], parse)
    return str(
        bound(
            st.selectbox,
            "architecture",
            known[0],
            parse,
            label="Architecture",
            options=list(dict.fromkeys([*options, chosen])),
            accept_new_options=True,
            help="The one that was trained: a classifier of torchvision, or type timm:NAME.",
        )
    ).strip()[:80]


def _seen() -> tuple[tuple[str, Any], ...]:
    """In what the preprocessing differs from the architecture's own."""
    with st.expander("Preprocessing, if it is not that of the architecture's published weights"):
        first, second, third = st.columns(3)
        with first:
            resize = _pixels("resize", "Short side", "In pixels, to which pictures are resized.")
        with second:
            crop = _pixels("crop", "Crop", "Side in pixels of the square that the model sees.")
        with third:
            interpolation = bound(
                st.selectbox,
                "seen.interpolation",
                None,
                one_of(INTERPOLATIONS),
                label="Interpolation",
                options=INTERPOLATIONS,
                help="How pictures are resized.",
                placeholder="as usual",
            )
        mean, std = (
            bound(
                st.text_input,
                f"seen.{key}",
                "",
                lambda text: text[:60],
                label=label,
                placeholder="0.5, 0.5, 0.5",
                help="Of the three channels, in 0 to 1.",
            )
            for key, label in (("mean", "Mean"), ("std", "Standard deviation"))
        )
    given: dict[str, Any] = {"resize": resize, "crop": crop and (crop, crop), "interpolation": interpolation}
    given |= {"mean": _three(mean), "std": _three(std)}
    return tuple((name, value) for name, value in given.items() if value)


def _pixels(key: str, label: str, about: str) -> int | None:
    """A number of pixels, None where the architecture's own stands."""
    side: int | None = bound(
        st.number_input,
        f"seen.{key}",
        None,
        whole(1, _LARGEST_SIDE),
        label=label,
        min_value=1,
        max_value=_LARGEST_SIDE,
        help=about,
    )
    return side


def _three(text: str) -> tuple[float, ...] | None:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) == 3:
        return values
    if text.strip():
        st.warning("Give three numbers with commas between them, such as 0.5, 0.5, 0.5.")
    return None
