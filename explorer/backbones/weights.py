"""Weight files: fetched once into torch's own cache with visible progress, refused with a clear sentence."""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse
from urllib.request import urlopen

import torch
from torch import nn

from explorer.errors import ExplorerError, first_line

Progress = Callable[[int, int], None]

# torchvision's builders read their checkpoints without weights_only; this makes every torch.load safe.
os.environ.setdefault("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")


class WeightsUnavailableError(ExplorerError):
    """Weights that are neither on this machine nor reachable; the sentence gives the remedies."""


def cached(url: str) -> Path:
    """Where torch's loader looks for the file of this URL (under TORCH_HOME)."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def fetch(url: str, name: str, progress: Progress | None = None) -> None:
    """Downloads a weight file to where torch's loader finds it, unless it is there.

    Args:
        name: of the backbone, for the message.
        progress: called with (bytes done, bytes in all) between blocks; may raise to cancel.

    Raises:
        WeightsUnavailableError: no connection, or the file is damaged.
    """
    target = cached(url)
    if target.exists():
        return
    remedy = (
        f"Connect to the internet once, or put {target.name} into {target.parent} (from {url}); "
        "the EfficientNet-Lite backbones need no download."
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".partial", delete=False) as partial:
        try:
            with urlopen(url, timeout=20) as response:
                total = int(response.headers.get("Content-Length", 0))
                while block := response.read(2**20):
                    partial.write(block)
                    digest.update(block)
                    if progress is not None:
                        progress(partial.tell(), total)
            partial.close()
            expected = re.search(r"-([0-9a-f]{8,})\.", target.name)
            if expected and not digest.hexdigest().startswith(expected[1]):
                raise WeightsUnavailableError(f"The download of {name} was damaged on its way. {remedy}")
            Path(partial.name).replace(target)
        except (URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise WeightsUnavailableError(
                f"The weights of {name} are not on this machine and could not be downloaded ({reason}). {remedy}"
            ) from error
        finally:
            Path(partial.name).unlink(missing_ok=True)


@contextmanager
def reading(name: str, place: str, remedy: str = "remove it, so that it is fetched again") -> Iterator[None]:
    """Around the reading of a weight file: turns one that is damaged, foreign or holds code into a sentence.

    Args:
        place, remedy: where the file lies, and what to do about it, for the message.

    Raises:
        WeightsUnavailableError: the file does not hold the weights of this network.
    """
    try:
        yield
    except Exception as error:  # a damaged file can make torch raise nearly anything
        raise WeightsUnavailableError(
            f"The file {place} does not hold the weights of {name} ({first_line(error)[:120]}): {remedy}."
        ) from error


def digest(model: nn.Module) -> str:
    """sha256 (hex) of every tensor of the state dict with its name, type and shape, in order."""
    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return total.hexdigest()
