"""Methods that weight the channels by what the network answers when it sees, or lacks, each of them."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from explorer.backbones import Cut, Layer
from explorer.declaration import Paper, option, stated
from explorer.methods.base import Attribution, Method, from_signed, register, weighted_sum
from explorer.probe import Probe, normalise, upsample

ONE_SHARE = (
    "Ablation-CAM, LIFT-CAM and Shapley-CAM are one map here{}: the logits are linear in the channel means, so what a "
    "channel adds does not depend on the others."
)


def strongest(energy: Tensor, live: Tensor, budget: int) -> tuple[Tensor, tuple[str, ...]]:
    """The live channels, or those of largest energy within a budget, and a note on what was left out.

    Args:
        energy: (K,), not negative.
        live: (K,) bool.
        budget: how many at most; 0 for no limit.

    Returns:
        Indices (M,) in ascending order.
    """
    [found] = live.nonzero(as_tuple=True)
    if not 0 < budget < len(found):
        return found, ()
    kept = found[energy[found].topk(budget).indices.sort().values]
    share = float(1 - energy[kept].sum() / energy[found].sum())
    note = (
        f"{len(found) - budget} of {len(found)} channels were left out; they hold {share:.1%} of the energy."
    )
    return kept, (note,)


def _asked(standard: int) -> Any:
    """The option of how many channels are asked.

    With 256 channels of 512 (SqueezeNet, all three methods) or of 1280 (EfficientNet-Lite0, Score-CAM) the maps
    correlate with those of all channels by 0.99 and more, with 128 by 0.96 and more, on two to ten photographs.
    """
    return option(
        standard,
        "Only so many channels, those of the largest energy, are asked; 0 for all.",
        label="channels",
        source="here",
        low=0,
        high=100_000,
        quick=128,
        paper=0,
    )


@dataclass(frozen=True)
class _ChannelMasks(Method):
    """The methods that look at the picture through a mask made of each channel."""

    family = "masking"

    channels: int = _asked(0)

    def passes(self, layer: Layer) -> int:
        """If no channel is constant; less by each that is."""
        return 1 + self._rounds * min(self.channels or layer.channels, layer.channels)

    @property
    def _rounds(self) -> int:
        return 1

    @classmethod
    def definition(cls) -> str:
        return f"{super().definition()} w_k = {stated(cls._weights)}"

    def _weights(self, maps: Tensor, probe: Probe, target: int) -> Tensor:
        """The weights (M,) of channels (M, h, w)."""
        raise NotImplementedError

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k w_k A_k) over the channels that are asked.

        A constant channel is not: as a mask it shows all or nothing. A channel's energy is the sum of squares of its
        positive values, for the weights are positive and only what is positive is seen in the map.
        """
        activation = probe.activation
        low, high = activation.flatten(1).aminmax(dim=1)
        energy = activation.relu().square().sum((1, 2))
        asked, notes = strongest(energy, high > low, self.channels)
        if not len(asked):
            return from_signed(activation.sum(0), probe, rectified=False)
        weights = activation.new_zeros(len(activation))
        weights[asked] = self._weights(activation[asked], probe, target)
        return self._shown(weighted_sum(weights, probe), probe, notes)

    def _shown(self, signed: Tensor, probe: Probe, notes: tuple[str, ...]) -> Attribution:
        return from_signed(signed, probe, notes)


@register
@dataclass(frozen=True)
class ScoreCAM(_ChannelMasks):
    name = "score-cam"
    title = "Score-CAM"
    paper = Paper(
        "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
        "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu",
        "CVPR Workshops",
        2020,
        "https://arxiv.org/abs/1910.01279",
    )
    cost = "1 pass and one for each channel"
    good = "Weights each channel by the score of the picture seen through it, so it needs no gradient."
    bad = "Costs a pass for each channel, and its softmax lets a few channels decide the map."

    variant: str = option(
        "paper",
        "paper: softmax over the channels of the logits, masks normalised at full size; official: the released code, "
        "whose weights are the probabilities themselves; channel-softmax: masks normalised before they are enlarged.",
        label="variant",
        source="paper, github.com/haofanwang/Score-CAM, torch-cam",
        choices=("paper", "official", "channel-softmax"),
    )

    def _weights(self, maps: Tensor, probe: Probe, target: int) -> Tensor:
        """softmax_k of f_c(x (*) M_k) - f_c(baseline), M_k = n(up(A_k)).

        The baseline's logit is the same for every channel and cancels in the softmax, so it is never computed.
        """

        def masks(chosen: slice) -> Tensor:
            if self.variant == "channel-softmax":
                return normalise(maps[chosen])
            return normalise(upsample(maps[chosen], probe.size))

        logits = probe.masked_logits(masks, len(maps))
        if self.variant == "official":
            return logits.softmax(1)[:, target]
        return logits[:, target].softmax(0)

    def _shown(self, signed: Tensor, probe: Probe, notes: tuple[str, ...]) -> Attribution:
        """The official code adds up the enlarged channels, so the ReLU comes after the enlarging."""
        if self.variant != "official":
            return super()._shown(signed, probe, notes)
        return replace(from_signed(upsample(signed[None], probe.size)[0], probe, notes), signed=signed)


@register
@dataclass(frozen=True)
class SSCAM(_ChannelMasks):
    name = "ss-cam"
    title = "SS-CAM"
    paper = Paper(
        "SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization",
        "Wang, Naidu, Michael, Kundu",
        "arXiv",
        2020,
        "https://arxiv.org/abs/2006.14255",
    )
    cost = "1 pass and one for each noisy copy of each channel that is asked"
    good = "Score-CAM with scores averaged over noisy masks, so that no channel wins by chance."
    bad = "Costs dozens of passes for each channel, and noise that strong drowns the mask."

    channels: int = _asked(256)
    samples: int = option(
        35, "Noisy copies of each mask.", label="noisy copies", source="paper", low=1, high=100, quick=4
    )
    deviation: float = option(
        2.0,
        "Standard deviation of the noise, for masks from 0 to 1.",
        label="noise",
        source="paper",
        low=0.0,
        high=5.0,
    )
    seed: int = option(0, "Of the noise.", label="seed", source="here", low=0, high=9999)

    @property
    def _rounds(self) -> int:
        return self.samples

    def _weights(self, maps: Tensor, probe: Probe, target: int) -> Tensor:
        """softmax_k of the mean over noise of f_c(x (*) (M_k + noise)), M_k = n(up(A_k)), noise at full size.

        Every mask has its own generator, so the noise does not depend on how the masks are chunked.
        """
        generator = torch.Generator().manual_seed(self.seed)
        total = maps.new_zeros(len(maps))
        for _ in range(self.samples):
            seeds = torch.randint(2**31, (len(maps),), generator=generator).tolist()

            def masks(chosen: slice, seeds: list[int] = seeds) -> Tensor:
                noise = [
                    torch.randn(probe.size, generator=torch.Generator().manual_seed(seed))
                    for seed in seeds[chosen]
                ]
                return normalise(upsample(maps[chosen], probe.size)).add(
                    torch.stack(noise).to(maps.device), alpha=self.deviation
                )

            total += probe.masked_logits(masks, len(maps))[:, target]
        return (total / self.samples).softmax(0)


@register
@dataclass(frozen=True)
class ISCAM(_ChannelMasks):
    name = "is-cam"
    title = "IS-CAM"
    paper = Paper(
        "IS-CAM: Integrated Score-CAM for axiomatic-based explanations",
        "Naidu, Ghosh, Maurya, Nayak, Kundu",
        "arXiv",
        2020,
        "https://arxiv.org/abs/2010.03023",
    )
    cost = "1 pass and one for each strength of each channel that is asked"
    good = "Score-CAM with scores averaged over masks of growing strength, after integrated gradients."
    bad = (
        "As published the strengths add up far beyond 1, so most steps show the network overexposed pictures."
    )

    channels: int = _asked(256)
    steps: int = option(
        10, "Strengths of each mask.", label="steps", source="paper", low=1, high=100, quick=4
    )

    @property
    def _rounds(self) -> int:
        return self.steps

    def _weights(self, maps: Tensor, probe: Probe, target: int) -> Tensor:
        """softmax_k of the mean over i = 1..N of f_c(x (*) s_i M_k), M_k = n(up(A_k)), s_i = sum_{j<=i} j/N.

        The strengths accumulate, as published: with 10 steps they run 0.1, 0.3, 0.6, 1.0 ... 5.5.
        """
        total = maps.new_zeros(len(maps))
        for step in range(1, self.steps + 1):
            strength = step * (step + 1) / (2 * self.steps)

            def masks(chosen: slice, strength: float = strength) -> Tensor:
                return strength * normalise(upsample(maps[chosen], probe.size))

            total += probe.masked_logits(masks, len(maps))[:, target]
        return (total / self.steps).softmax(0)


@register
@dataclass(frozen=True)
class AblationCAM(Method):
    name = "ablation-cam"
    title = "Ablation-CAM"
    paper = Paper(
        "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
        "Desai, Ramaswamy",
        "WACV",
        2020,
        "https://doi.org/10.1109/WACV45572.2020.9093360",
    )
    family = "masking"
    cost = "1 pass, and the head once for each channel"
    good = (
        "Weights each channel by the logit that is lost without it, so saturated gradients do not mislead it."
    )
    bad = "Channels that stand in for each other all seem useless, and early layers are slow."
    on_linear_head = ONE_SHARE.format("")

    official: bool = option(
        False,
        "Divides by the logit itself, as printed, which turns every sign where the logit is negative.",
        label="as printed",
        source="paper",
    )

    def coincides(self, cut: Cut) -> str | None:
        if self.official and cut.pooled_linear:
            return ONE_SHARE.format(", when the logit is positive")
        return super().coincides(cut)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k w_k A_k), w_k = (y_c - y_c without channel k) / |y_c|.

        With a linear head after pooling the drop is sum_ij g_k A_k, from one gradient.
        """
        logit = probe.logits[target]
        if probe.cut.pooled_linear:
            drops = (probe.gradient(target) * probe.activation).sum((1, 2))
        else:
            drops = probe.drops(target)
        scale = logit if self.official else logit.abs()
        return from_signed(weighted_sum(drops / torch.where(scale == 0, 1, scale), probe), probe)
