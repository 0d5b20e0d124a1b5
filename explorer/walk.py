"""The steps of a method one by one, for teaching. A walk is a value: equal walks of a probe say the same.

Every walk makes each step by the plain formula; its last step is the map that the method itself gives.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.methods import METHODS, Attribution
from explorer.methods.base import from_signed
from explorer.methods.lift import LiftCAM
from explorer.methods.masking import ScoreCAM, strongest
from explorer.methods.optimisation import OptiCAM
from explorer.probe import Probe, normalise, upsample

T_co = TypeVar("T_co", covariant=True)


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (n, h, w) as masks (n, H, W): up-sampled, then each brought to [0, 1]; a constant one is zero."""
    return normalise(upsample(maps, size))


class Walk(Protocol[T_co]):
    """What is made of a probe and a class."""

    def __call__(self, probe: Probe, target: int) -> T_co: ...


@dataclass(frozen=True, eq=False)
class Seen:
    """What goes into the network and what comes out.

    Args:
        colours: (H, W, 3) uint8, the crop at the network's own size.
        low, high: the range of the normalised input.
        logits: (C,).
    """

    colours: NDArray[np.uint8]
    low: float
    high: float
    logits: Tensor


@dataclass(frozen=True)
class Seeing:
    """What the network is given and what it answers."""

    def __call__(self, probe: Probe, target: int) -> Seen:
        low, high = torch.stack(probe.image.aminmax()).tolist()
        colours = probe.cut.backbone.preprocessing.colours(probe.image).numpy()
        return Seen(colours, low, high, probe.logits.cpu())


@dataclass(frozen=True, eq=False)
class Browsed:
    """The channels of largest mean.

    Args:
        channels: (n,), their numbers, of ``total``; ``maps`` (n, h, w).
        weights: (n,), the rise of the target's logit with each mean, to first order: CAM's weights where the logits are
            linear in the means, Grad-CAM's times hw everywhere.
    """

    channels: Tensor
    maps: Tensor
    weights: Tensor
    total: int


@dataclass(frozen=True)
class Browsing:
    """The ``count`` channels of largest mean."""

    count: int

    def __call__(self, probe: Probe, target: int) -> Browsed:
        activation = probe.activation
        means = activation.mean((1, 2))
        channels = means.argsort(descending=True, stable=True)[: self.count]
        weights = probe.gradient(target)[channels].sum((1, 2))
        return Browsed(channels.cpu(), activation[channels].cpu(), weights.cpu(), len(activation))


@dataclass(frozen=True, eq=False)
class Weighted:
    """A weighted sum of channels on its way to a map.

    Args:
        channels: (n,), the numbers of those that count most, of ``total``.
        maps, gradients: (n, h, w) of these channels.
        weights: (n,).
        uneven: the largest deviation of a gradient from its mean over space, as a share of the largest gradient: 0
            where every channel has one gradient for all positions.
        added: how many channels are in the sum.
        made: the sum, with its map (H, W).
    """

    channels: Tensor
    maps: Tensor
    gradients: Tensor
    weights: Tensor
    total: int
    uneven: float
    added: int
    made: Attribution


@dataclass(frozen=True)
class Weighting:
    """CAM or Grad-CAM with only the channels that count most in the sum, those of largest |w_k| mean |A_k|.

    Args:
        added: how many channels; 0 for all, which is the method itself.
        shown: how many of them are told apart.
    """

    method: Literal["cam", "grad-cam"]
    added: int = 0
    shown: int = 6

    def __call__(self, probe: Probe, target: int) -> Weighted:
        """Raises UndefinedMethodError where the method is not defined."""
        METHODS[self.method]().refuse_undefined(probe.cut)
        activation, gradient = probe.activation, probe.gradient(target)
        means = gradient.mean((1, 2))
        weights = means if self.method == "grad-cam" else gradient[:, 0, 0] * gradient[0].numel()
        order = (weights * activation.abs().mean((1, 2))).abs().argsort(descending=True, stable=True)
        added = order[: self.added or None].sort().values
        signed = (weights[added, None, None] * activation[added]).sum(0)
        first = order[: self.shown]
        uneven = (gradient - means[:, None, None]).abs().max() / gradient.abs().max().clamp(min=1e-30)
        return Weighted(
            first.cpu(),
            activation[first].cpu(),
            gradient[first].cpu(),
            weights[first].cpu(),
            len(activation),
            float(uneven),
            len(added),
            from_signed(signed, probe).cpu(),
        )


@dataclass(frozen=True, eq=False)
class Masked:
    """Channels as masks.

    Args:
        channels: (n,), by their energy, of ``total``.
        masks: (n, h, w), the channels from which each mask is up-sampled and normalised.
        sights: (n, H, W, 3) uint8, the picture under each mask.
        scores: (n,), probability of the target under each mask; ``logits`` (n,) likewise.
        weights: (n,), the softmax of the logits.
        probability: of the target on the picture itself.
        made: the map of these channels.
    """

    channels: Tensor
    masks: Tensor
    sights: NDArray[np.uint8]
    scores: Tensor
    logits: Tensor
    weights: Tensor
    total: int
    probability: float
    made: Attribution


@dataclass(frozen=True)
class Masking:
    """Score-CAM over ``count`` channels, those of the largest energy; a pass for each."""

    count: int

    def __call__(self, probe: Probe, target: int) -> Masked:
        ScoreCAM(channels=self.count).refuse_undefined(probe.cut)
        activation = probe.activation
        low, high = activation.flatten(1).aminmax(dim=1)
        energy = activation.relu().square().sum((1, 2))
        asked, _ = strongest(energy, high > low, self.count)
        channels = asked[energy[asked].argsort(descending=True, stable=True)]
        masks = enlarged(activation[channels], probe.size)
        found = probe.masked_logits(lambda chosen: masks[chosen], len(masks))
        weights = found[:, target].softmax(0)
        colours = probe.cut.backbone.preprocessing.colours
        signed = (weights[:, None, None] * activation[channels]).sum(0)
        return Masked(
            channels.cpu(),
            activation[channels].cpu(),
            colours(probe.image * masks[:, None]).numpy(),
            found.softmax(1)[:, target].cpu(),
            found[:, target].cpu(),
            weights.cpu(),
            len(activation),
            float(probe.probabilities[target]),
            from_signed(signed, probe).cpu(),
        )


@dataclass(frozen=True, eq=False)
class Removed:
    """Channels taken away, first the one with the largest share of the score.

    Args:
        channels: (K,), in the order of their shares.
        shares: (K,), what each adds to the logit by LIFT-CAM.
        rest: what class and register tokens add, which are no channels of the map.
        counts: (s,), how many channels are taken away together, from 0 to K.
        logits: (s,), what the logit then is.
        maps: (n, h, w) of the first n channels; ``falls`` (n,) by how much the logit falls without each alone.
        empty: the logit of an activation of zeros.
        made: the map of LIFT-CAM.
    """

    channels: Tensor
    shares: Tensor
    rest: float
    counts: tuple[int, ...]
    logits: Tensor
    maps: Tensor
    falls: Tensor
    empty: float
    made: Attribution

    def predicted(self) -> Tensor:
        """What the logit would be (s,) if the shares added up whatever else is there."""
        sums = torch.cat([self.shares.new_zeros(1), self.shares.cumsum(0)])
        return self.logits[0] - sums[list(self.counts)]


@dataclass(frozen=True)
class Removing:
    """LIFT-CAM's shares beside the logits of activations that lack channels.

    Args:
        shown: how many channels are also taken away alone.
    """

    shown: int = 6

    def __call__(self, probe: Probe, target: int) -> Removed:
        method = LiftCAM()
        method.refuse_undefined(probe.cut)
        found = method.shares(probe, target)
        order = found.channels.argsort(descending=True, stable=True)
        activation, total = probe.activation, len(order)
        counts = (0, *(2**power for power in range(total.bit_length()) if 2**power < total), total)
        together = [order[:count] for count in counts]
        alone = [order[place : place + 1] for place in range(min(self.shown, total))]
        without = [*together, *alone]

        def lacking(chosen: slice) -> Tensor:
            several = activation.repeat(len(without[chosen]), 1, 1, 1)
            for one, gone in zip(several, without[chosen], strict=True):
                one[gone] = 0
            return several

        logits = probe.head(lacking, len(without), target).cpu()
        return Removed(
            order.cpu(),
            found.channels[order].cpu(),
            found.total - float(found.channels.sum()),
            counts,
            logits[: len(counts)],
            activation[order[: self.shown]].cpu(),
            logits[0] - logits[len(counts) :],
            float(probe.logits[target]) - found.change,
            method(probe, target).cpu(),
        )


@dataclass(frozen=True, eq=False)
class Searched:
    """The whole search of Opti-CAM.

    Args:
        signed: (n, h, w), the map of each iteration at the layer's resolution; ``size`` (H, W) that of the input.
        logits, probabilities: (n,), of the target on the picture under the map of each iteration.
        probability: of the target on the picture itself.
        made: the map of the method.
    """

    signed: Tensor
    size: tuple[int, int]
    logits: Tensor
    probabilities: Tensor
    probability: float
    made: Attribution

    def frame(self, iteration: int) -> Tensor:
        """The map (H, W) in [0, 1] of one iteration."""
        return enlarged(self.signed[iteration][None], self.size)[0]


@dataclass(frozen=True)
class Searching:
    """Opti-CAM, of which every iteration is kept."""

    iterations: int

    def __call__(self, probe: Probe, target: int) -> Searched:
        method = OptiCAM(iterations=self.iterations)
        method.refuse_undefined(probe.cut)
        kept = list(method.search(probe, target))
        logits = torch.stack([one.logits for one in kept])
        return Searched(
            torch.stack([one.signed for one in kept]).cpu(),
            probe.size,
            logits[:, target].cpu(),
            logits.softmax(1)[:, target].cpu(),
            float(probe.probabilities[target]),
            method.concluded(kept, probe, target).cpu(),
        )
