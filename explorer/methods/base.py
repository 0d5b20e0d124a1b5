"""What a method is: options declared once, a registered name, and one function of a probe."""

import math
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from explorer.backbones import Cut, Layer
from explorer.declaration import Declared, stated
from explorer.errors import ExplorerError
from explorer.probe import Probe, upsample


class Blank(StrEnum):
    """Why a map is blank, each a sentence with a remedy."""

    OVERFLOW = "The network's numbers overflow at this layer. Choose another layer or full precision."
    SILENT = "The layer is silent: every activation is zero for this picture. Choose another layer."
    AGAINST = "No position speaks for this class. Choose another class or layer, or look at the signed map."
    FLAT = "The map has the same value everywhere. Choose another layer or method."
    CANCELS = (
        "Gradient times activation cancels at every position: they are normalised before the network reads them. "
        "Choose Grad-CAM or Layer-CAM."
    )
    SATURATED = (
        "AGF starts from how the share of the class in a softmax changes, and here that is saturated: it does not "
        "change. Choose another class, or Grad-CAM."
    )
    ALIKE = "Every base map is constant: the references look like the picture. Choose another library."
    PENALISED = "The penalty leaves no channel. Lower the penalty."
    UNDEFINED = (
        "The released code returns NaN here: a constant base map enters the average. Follow the paper."
    )


ANY_MAP = (Blank.OVERFLOW, Blank.SILENT, Blank.AGAINST, Blank.FLAT)
"""Why the map of a method that looks at the network can be blank, whatever the method."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a method says of one picture and class.

    Args:
        saliency: (H, W) float32 in [0, 1], in the frame of the network's input; all zero when blank.
        signed: (h, w) float32 at the layer's resolution, before any ReLU or scaling.
        blank: why the map is blank, in a sentence with a remedy; None for a usable map.
        notes: what the method has to say of this very map, a sentence each.
        extent: (2,), the values that 0 and 1 of the map stand for in the method's own units, after ReLU and
            up-sampling; None where it has no such units, being blank or normalised on the way.
    """

    saliency: Tensor
    signed: Tensor
    blank: Blank | None = None
    notes: tuple[str, ...] = ()
    extent: Tensor | None = None

    def cpu(self) -> Self:
        """The same with every tensor in main memory."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        moved: dict[str, Any] = {name: v.cpu() for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


Need = Literal[
    "gradient",
    "reference library",
    "GAP + linear head",
    "convolutional network",
    "a rule for every operation on the way",
]
Family = Literal[
    "gradients",
    "masking",
    "Shapley values",
    "relevance",
    "optimisation",
    "references",
    "activations",
    "controls",
]


@dataclass(frozen=True)
class Method(Declared):
    """Base of all methods: a frozen dataclass of options whose call explains one class of one picture.

    ``cost`` says in words how many forward passes a map takes, ``good`` and ``bad`` in one sentence each what to
    expect of it, ``on_linear_head`` with which methods it coincides where the logits are linear in the channel means,
    ``blanks`` every reason that its map can be blank for.
    """

    family: ClassVar[Family]
    needs: ClassVar[tuple[Need, ...]] = ()
    cost: ClassVar[str] = "1 pass"
    good: ClassVar[str]
    bad: ClassVar[str]
    on_linear_head: ClassVar[str | None] = None
    blanks: ClassVar[tuple[Blank, ...]] = ANY_MAP

    @classmethod
    def definition(cls) -> str:
        """The formula of its map, as its code says."""
        return stated(cls.__call__)

    @classmethod
    def needs_references(cls) -> bool:
        return "reference library" in cls.needs

    def passes(self, layer: Layer) -> int:
        """How many forward passes of the whole network a map at this layer takes, the first one included."""
        return 1

    def refuse_undefined(self, cut: Cut) -> None:
        """Raises UndefinedMethodError where there is no such map."""
        if (reason := self.undefined(cut)) is not None:
            raise UndefinedMethodError(reason)

    def undefined(self, cut: Cut) -> str | None:
        """Why there is no such map at this cut, in a sentence with a remedy; None where there is one."""
        if "GAP + linear head" in self.needs and not cut.pooled_linear:
            return (
                f"{self.title} is defined only where global average pooling and one linear layer follow: "
                f"not at {cut.layer.name} of {cut.backbone.name}. Choose a ResNet or EfficientNet at its last "
                "layer, or Grad-CAM, which generalises it."
            )
        return None

    def coincides(self, cut: Cut) -> str | None:
        """With which other methods this one coincides at this cut, and why; None where it stands alone."""
        return self.on_linear_head if self.on_linear_head and cut.pooled_linear else None

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """Explains a class.

        Args:
            target: index of the explained class.
            references: (N, K, h, w), activations of a reference library at the probe's layer, for the
                methods that need them.
        """
        raise NotImplementedError


class UndefinedMethodError(ExplorerError):
    """A method that does not exist at a cut; the sentence says why and what to choose instead."""


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


def from_signed(
    signed: Tensor,
    probe: Probe,
    notes: tuple[str, ...] = (),
    *,
    rectified: bool = True,
    units: bool = True,
) -> Attribution:
    """The common ending: ReLU, bilinear up-sampling, then min-max to [0, 1], with a reason when blank.

    Args:
        signed: (h, w), at the resolution of the layer or of the input.
        rectified: False for the methods without a ReLU, whose lowest value becomes 0.
        units: False where values of two maps cannot be compared, so that the map has no extent.
    """
    blank = why_blank(signed, probe, rectified=rectified)
    if blank is not None:
        return Attribution(torch.zeros(probe.size, device=signed.device), signed, blank, notes)
    saliency = upsample((signed.relu() if rectified else signed)[None], probe.size)[0]
    low, high = saliency.aminmax()
    extent = torch.stack([low, high]) if units else None
    return Attribution((saliency - low) / (high - low), signed, None, notes, extent)


def weighted_sum(weights: Tensor, probe: Probe) -> Tensor:
    """sum_k w_k A_k (h, w), with weights (K,)."""
    return probe.activation.movedim(0, -1) @ weights


def why_blank(signed: Tensor, probe: Probe, *, rectified: bool = False) -> Blank | None:
    """Why a map (h, w), or what is positive of it, is blank; None when it is not."""
    low, high = torch.stack(signed.aminmax()).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):
        return Blank.OVERFLOW
    if high > (max(low, 0) if rectified else low):
        return None
    if not probe.activation.any():
        return Blank.SILENT
    if high <= 0:
        return Blank.AGAINST
    return Blank.FLAT
