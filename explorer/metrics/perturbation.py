"""What a metric shows the network: the picture with a part of it kept, removed, deleted or inserted.

A perturbation is described by value, so that equal pictures are scored once, whichever metrics ask for them. All
of them are blends ``image * mask + substrate * (1 - mask)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.calibration import cut_map, ranks
from explorer.probe import Probe, channels_last

Fill = Literal["mean", "black", "blur"]


class Canvas:
    """A picture (3, H, W) in normalised space, and what may stand in the place of its pixels.

    Both lie in memory as networks like them, channels last, and so do blends of them.
    """

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.image = channels_last(probe.image)

    def substrate(self, fill: Fill) -> Tensor:
        """(3, H, W) or (3, 1, 1): zero is the mean colour of normalised space."""
        if fill == "blur":
            return self._blurred
        if fill == "black":
            seen = self.probe.cut.backbone.preprocessing
            mean, std = (torch.tensor(values).to(self.image) for values in (seen.mean, seen.std))
            return (-mean / std)[:, None, None]
        return self.image.new_zeros(3, 1, 1)

    @cached_property
    def logits(self) -> Tensor:
        """(C,), of the picture itself, from the passes that score perturbed ones: a compiled network rounds otherwise
        than its trunk and head, so that a picture under a mask that changes nothing would not tie with it."""
        if not self.probe.cut.backbone.compiled:
            return self.probe.logits
        return self.probe.logits_of(lambda _: self.image[None], 1)[0]

    @cached_property
    def _blurred(self) -> Tensor:
        """As RISE's released code does it (github.com/eclique/RISE): by a kernel of 11 x 11 pixels in normalised space,
        zeros beyond the rim. The kernel is a single one smoothed by a Gaussian of deviation 5 that is reflected at the
        kernel's own rim, so it is nearly flat.
        """
        from scipy.ndimage import gaussian_filter1d  # late: its threads would keep freed memory apart

        kernel = torch.from_numpy(gaussian_filter1d(np.eye(11)[5], 5)).to(self.image)
        across = F.conv2d(self.probe.image[:, None], kernel[None, None, None, :], padding=(0, 5))
        return channels_last(F.conv2d(across, kernel[None, None, :, None], padding=(5, 0))[:, 0])


class Ordered(Protocol):
    """A map (H, W) in [0, 1] and its order; see ``Order``."""

    canvas: Canvas
    saliency: Tensor

    def rank(self, tied: int) -> Tensor: ...


class Order:
    """The ranks of a map's pixels, and of the map with its lowest values cut, computed once."""

    def __init__(self, saliency: Tensor) -> None:
        self._saliency = saliency
        self._ranks: dict[int, Tensor] = {}

    def __call__(self, tied: int = 0) -> Tensor:
        """(H, W), 0 for the lowest value; the ``tied`` percent lowest ones taken as equal, in reading order."""
        if tied not in self._ranks:
            self._ranks[tied] = ranks(cut_map(self._saliency, tied) if tied else self._saliency)
        return self._ranks[tied]


@dataclass(frozen=True)
class Perturbation:
    """One picture made of a picture and a map."""

    def of_cut_map(self, percent: int, pixels: int) -> Self:
        """The perturbation of the uncut map that makes the same picture as this one of the map after a cut."""
        raise NotImplementedError

    @classmethod
    def pictures(cls, asked: Sequence[Self], shown: Ordered) -> Tensor:
        """(m, 3, H, W), one for each perturbation asked, all of this class."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Soft(Perturbation):
    """The map with its ``cut`` percent lowest values set to zero, as a soft mask."""

    cut: int = 0
    fill: Fill = "mean"

    def of_cut_map(self, percent: int, pixels: int) -> Self:
        return replace(self, cut=max(self.cut, percent))

    @classmethod
    def _masks(cls, asked: Sequence[Self], shown: Ordered) -> Tensor:
        """(m, 1, H, W)"""
        removed = [shown.saliency.numel() * one.cut // 100 for one in asked]
        thresholds = torch.tensor(removed, device=shown.saliency.device)[:, None, None]
        return (shown.saliency * (shown.rank(0) >= thresholds))[:, None]


@dataclass(frozen=True)
class Kept(_Soft):
    """x * S: the picture multiplied by the map."""

    @classmethod
    def pictures(cls, asked: Sequence[Self], shown: Ordered) -> Tensor:
        return _blend(cls._masks(asked, shown), asked, shown.canvas)


@dataclass(frozen=True)
class Removed(_Soft):
    """x * (1 - S): the picture multiplied by what the map leaves."""

    @classmethod
    def pictures(cls, asked: Sequence[Self], shown: Ordered) -> Tensor:
        return _blend(1 - cls._masks(asked, shown), asked, shown.canvas)


@dataclass(frozen=True)
class _Counted(Perturbation):
    """The ``count`` pixels of highest value, of equal ones the later in reading order first (RISE).

    ``tied`` percent of the map are equal and lowest: what a cut leaves of their order.
    """

    count: int
    fill: Fill
    tied: int = 0

    def of_cut_map(self, percent: int, pixels: int) -> Self:
        return self if self.count <= pixels - pixels * percent // 100 else replace(self, tied=percent)

    @classmethod
    def _highest(cls, asked: Sequence[Self], shown: Ordered) -> Tensor:
        """(m, 1, H, W) bool"""
        pixels = shown.saliency.numel()
        return torch.stack([shown.rank(one.tied) >= pixels - one.count for one in asked])[:, None]


@dataclass(frozen=True)
class Deleted(_Counted):
    """The picture with its most salient pixels filled."""

    @classmethod
    def pictures(cls, asked: Sequence[Self], shown: Ordered) -> Tensor:
        return _blend(~cls._highest(asked, shown), asked, shown.canvas)


@dataclass(frozen=True)
class Inserted(_Counted):
    """Nothing of the picture but its most salient pixels."""

    @classmethod
    def pictures(cls, asked: Sequence[Self], shown: Ordered) -> Tensor:
        return _blend(cls._highest(asked, shown), asked, shown.canvas)


def _blend(masks: Tensor, asked: Sequence[_Soft] | Sequence[_Counted], canvas: Canvas) -> Tensor:
    """(m, 3, H, W), by masks (m, 1, H, W) that are soft or of truth values."""
    fills = [one.fill for one in asked]
    substrate = canvas.substrate(fills[0])
    if any(fill != fills[0] for fill in fills):
        substrate = torch.stack([canvas.substrate(fill).expand_as(canvas.image) for fill in fills])
    if masks.dtype == torch.bool:
        return torch.where(masks, canvas.image, substrate)
    kept = canvas.image * masks
    return kept if set(fills) == {"mean"} else kept + substrate * (1 - masks)
