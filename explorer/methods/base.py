"""What a method is: options declared once, a registered name, and one function of a probe."""

from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from explorer.errors import ExplorerError
from explorer.probe import Probe, upsample


@dataclass(frozen=True)
class Paper:
    title: str
    authors: str
    venue: str
    year: int
    link: str


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a method says of one picture and class.

    Args:
        saliency: (H, W) float32 in [0, 1], in the frame of the network's input; all zero when blank.
        signed: (h, w) float32 at the layer's resolution, before any ReLU or scaling.
        blank: why the map is blank, in a sentence with a remedy; None for a usable map.
    """

    saliency: Tensor
    signed: Tensor
    blank: str | None = None

    def cpu(self) -> Self:
        """The same with every tensor in main memory."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        moved: dict[str, Any] = {name: v.cpu() for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def option(default: Any, help: str, *, label: str, source: str, low: Any = None, high: Any = None) -> Any:
    """Declares an option of a method once, for the page, the command line, the docs and the cache key."""
    metadata = {"label": label, "help": help, "source": source, "low": low, "high": high}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Method:
    """Base of all methods: a frozen dataclass of options whose call explains one class of one picture."""

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[Paper]
    summary: ClassVar[str]
    needs_references: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for item in fields(self):
            value, low, high = getattr(self, item.name), item.metadata["low"], item.metadata["high"]
            wanted = type(item.default)
            if type(value) is not wanted:
                raise OptionError(
                    f"{self.name}: {item.name} must be of type {wanted.__name__}, not {value!r}."
                )
            if (low is not None and value < low) or (high is not None and value > high):
                raise OptionError(f"{self.name}: {item.name} must lie between {low} and {high}, not {value}.")

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """Explains a class.

        Args:
            target: index of the explained class.
            references: (N, K, h, w), activations of a reference library at the probe's layer, for the
                methods that need them.
        """
        raise NotImplementedError


class OptionError(ExplorerError):
    """An option out of its range; the sentence names the method, the option and the range."""


class UnknownMethodError(ExplorerError):
    """A method name that is not registered; the sentence lists those that are."""


METHODS: dict[str, type[Method]] = {}


def register(method: type[Method]) -> type[Method]:
    """Class decorator: makes a method known by its name everywhere."""
    METHODS[method.name] = method
    return method


def find(name: str) -> type[Method]:
    try:
        return METHODS[name]
    except KeyError:
        known = ", ".join(METHODS)
        raise UnknownMethodError(f"There is no method {name[:80]!r}; there are {known}.") from None


def options_of(method: type[Method]) -> list[dict[str, Any]]:
    """The declared options: name, default, label, help, source, low, high."""
    return [
        {"name": item.name, "default": item.default if item.default is not MISSING else None, **item.metadata}
        for item in fields(method)
    ]


def from_signed(signed: Tensor, probe: Probe) -> Attribution:
    """The common ending: ReLU, bilinear up-sampling, then min-max to [0, 1], with a reason when blank."""
    positive = signed.relu()
    blank = why_blank(signed, positive, probe)
    if blank is not None:
        return Attribution(torch.zeros(probe.size, device=signed.device), signed, blank)
    saliency = upsample(positive[None], probe.size)[0]
    low, high = saliency.aminmax()
    return Attribution(saliency.sub_(low).div_(high - low), signed)


def why_blank(signed: Tensor, shown: Tensor, probe: Probe) -> str | None:
    """Why a map ``shown`` (h, w), made of ``signed`` (h, w), is blank; None when it is not."""
    if not torch.isfinite(signed).all():
        return "The network's numbers overflow at this layer. Choose another layer or full precision."
    if shown.max() > shown.min():
        return None
    if not probe.activation.any():
        return "The layer is silent: every activation is zero for this picture. Choose another layer."
    if (signed <= 0).all():
        return "No position speaks for this class. Choose another class or layer, or look at the signed map."
    return "The map has the same value everywhere. Choose another layer or method."
