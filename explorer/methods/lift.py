"""Methods that share the class score among the channels, by propagating it backward through the head."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from explorer.backbones import Cut
from explorer.declaration import Paper
from explorer.methods.base import Attribution, Method, from_signed, register, weighted_sum
from explorer.probe import Probe
from explorer.propagation import EPSILON, RESCALE, Rules, first_row, propagate, unruled

_TOLERANCE = 1e-4


def without_rule(method: type[Method], cut: Cut, rules: Rules) -> str | None:
    """The sentence that a method's rules do not reach from the logits to the layer, if so."""
    operation = unruled(cut.head, partial(_silence, cut), rules)
    if operation is None:
        return None
    return (
        f"{method.title} has no rule for the operation {operation}, which follows here, so it is not defined: "
        f"not at {cut.layer.name} of {cut.backbone.name}. Choose a later layer, a plain convolutional network, "
        "or Grad-CAM."
    )


def _silence(cut: Cut) -> Tensor:
    """Two activations of zeros as the network stores them: the picture's row and the baseline's."""
    layer, device = cut.layer, cut.backbone.device
    tokens = torch.zeros(1, layer.prefix, layer.channels, device=device)
    return layer.from_maps(torch.zeros(2, layer.channels, layer.height, layer.width, device=device), tokens)


@dataclass(frozen=True, eq=False)
class Shares:
    """What the ``channels`` (K,) add to the logit, and in ``total`` what they add with the class token; and the
    ``change`` of the logit from an activation of zeros, which the total must be."""

    channels: Tensor
    total: float
    change: float


@register
@dataclass(frozen=True)
class LiftCAM(Method):
    name = "lift-cam"
    title = "LIFT-CAM"
    paper = Paper(
        "Towards Better Explanations of Class Activation Mapping",
        "Jung, Oh",
        "ICCV",
        2021,
        "https://arxiv.org/abs/2102.05228",
    )
    family = "Shapley values"
    needs = ("gradient", "a rule for every operation on the way")
    good = (
        "Shares the whole score among the channels, nearly as Shapley values do, for the price of one pass."
    )
    bad = "What a channel contributes to the score is spread over its whole map, wherever it was earned."
    on_linear_head = (
        "LIFT-CAM has the exact Shapley values of the channels here, and is one map with Ablation-CAM: "
        "the logits are linear in the channel means."
    )

    def undefined(self, cut: Cut) -> str | None:
        return without_rule(type(self), cut, RESCALE)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k alpha_k A_k), alpha_k the sum over space of DeepLIFT's contributions to the logit, from zero.

        The rules beyond those of DeepLIFT (products, softmax, layer normalisation) are chosen so that the
        contributions always add up to y(A) - y(0), which is checked at every call.
        """
        shares = self.shares(probe, target)
        shown = float(shares.channels.sum())
        notes = _account(probe.cut, shares.change, shares.total, shown)
        return from_signed(weighted_sum(shares.channels, probe), probe, notes)

    def shares(self, probe: Probe, target: int) -> Shares:
        """What DeepLIFT says that each channel adds to the logit."""
        raw = probe.raw
        both = torch.cat([raw, torch.zeros_like(raw)])
        logits, multipliers = propagate(probe.cut, both, RESCALE, first_row, target)
        contributions = multipliers[:1] * raw
        channels = probe.cut.layer.to_maps(contributions)[0].sum((1, 2))
        return Shares(channels, float(contributions.sum()), float(logits[0] - logits[1]))


def _account(cut: Cut, change: float, total: float, shown: float) -> tuple[str, ...]:
    """Whether the contributions add up to the change of the logit, and how much of it no map can show."""
    error = abs(total - change) / max(abs(total), abs(change), torch.finfo(torch.float32).tiny)
    verdict = "as they must" if error <= _TOLERANCE else "which is too far off to trust them"
    sums = f"The contributions add up to y(A) - y(0) = {change:.4g} to within {max(error, 1e-7):.0e} of it, {verdict}."
    if not cut.layer.prefix:
        return (sums,)
    return (sums, f"Of that {total - shown:.4g} is the class token's, which is no part of the map.")


@register
@dataclass(frozen=True)
class LRPCAM(Method):
    name = "lrp-cam"
    title = "LRP-CAM"
    paper = LiftCAM.paper
    family = "relevance"
    needs = ("gradient", "a rule for every operation on the way")
    good = "Shares the logit itself among the channels, layer by layer, in proportion to what each adds."
    bad = "Where positive and negative parts cancel the shares grow out of bounds."
    on_linear_head = (
        "LRP-CAM is LIFT-CAM here: the logits are linear in the channel means, and both share them in "
        "proportion to weight times mean."
    )

    def undefined(self, cut: Cut) -> str | None:
        return without_rule(type(self), cut, EPSILON)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k alpha_k A_k), alpha_k the sum over space of the epsilon rule's relevance for the logit."""
        _, relevance = propagate(probe.cut, probe.raw, EPSILON, torch.clone, target)
        shares = probe.cut.layer.to_maps(relevance)[0].sum((1, 2))
        return from_signed(weighted_sum(shares, probe), probe)
