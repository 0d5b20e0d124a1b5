"""Libra-CAM: the class score linearised against references of other classes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from explorer.backbones import Layer
from explorer.declaration import OptionError, Paper, option
from explorer.methods.base import Attribution, Method, register
from explorer.probe import Probe, normalise, upsample


@dataclass(frozen=True, eq=False)
class LibraEvidence:
    """What all candidate references say; every smaller library is a prefix of it.

    Args:
        base_maps: (N, h, w) in [0, 1], normalised at the layer's resolution; NaN rows in the official variant
            where a base map is constant.
        signed: (N, h, w), the base maps before normalisation: their sum over space approximates the score
            difference between the picture and the reference.
        gains: (N,), target probability under the base map less the probability on the picture itself;
            NaN for a constant base map.
        probability: of the target on the picture itself.
    """

    base_maps: Tensor
    signed: Tensor
    gains: Tensor
    probability: float

    def __len__(self) -> int:
        return len(self.gains)

    def extended(self, other: "LibraEvidence") -> "LibraEvidence":
        """This evidence followed by that of further references."""
        return replace(
            self,
            base_maps=torch.cat([self.base_maps, other.base_maps]),
            signed=torch.cat([self.signed, other.signed]),
            gains=torch.cat([self.gains, other.gains]),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class LibraAttribution(Attribution):
    """An attribution with the references that made it: ``gains`` (N,) and ``kept`` (N,) bool."""

    gains: Tensor
    kept: Tensor


@register
@dataclass(frozen=True)
class LibraCAM(Method):
    name = "libra-cam"
    title = "Libra-CAM"
    paper = Paper(
        "Libra-CAM: An Activation-Based Attribution Based on the Linear Approximation of Deep Neural Nets "
        "and Threshold Calibration",
        "Lee, Han",
        "IJCAI",
        2022,
        "https://doi.org/10.24963/ijcai.2022/442",
    )
    family = "references"
    needs = ("gradient", "reference library")
    cost = "1 pass and one for each reference"
    good = (
        "Averages the differences from confident pictures of other classes, so what they share is cut away."
    )
    bad = "As good as its library, and it chooses references by the very probability that faithfulness measures."

    size: int = option(
        30,
        "References used, from the first of the selection.",
        label="library size",
        source="released code",
        low=1,
        high=100_000,
    )
    official: bool = option(
        False,
        "The released code bug for bug: the gradient of the top logit whatever class is asked, a constant "
        "base map spoils the average, and the calibration removes one level more than it tested best.",
        label="as released",
        source="github.com/sanglee/Libra-CAM",
    )

    def passes(self, layer: Layer) -> int:
        return 1 + self.size

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> LibraAttribution:
        """Base maps, rejection by gain, plain average of what is kept.

        Raises:
            OptionError: no references.
        """
        if references is None or not len(references):
            raise OptionError("Libra-CAM needs a reference library: build one, or choose the built-in one.")
        return self.combine(self.evidence(probe, target, references[: self.size]), probe)

    def evidence(self, probe: Probe, target: int, references: Tensor) -> LibraEvidence:
        """The normalised base maps L_r = sum_k g_k (A_k - R_k) and their gains; one pass per reference."""
        gradient = probe.gradient(int(probe.logits.argmax()) if self.official else target)
        at_picture = torch.einsum("khw,khw->hw", gradient, probe.activation)
        at_references = torch.einsum("khw,nkhw->nhw", gradient, references.to(gradient))
        signed = at_picture - at_references
        base_maps = normalise(signed)
        constant = ~base_maps.flatten(1).any(1)
        if self.official:
            base_maps[constant] = torch.nan
        probability = probe.probabilities[target]
        gains = probe.scores(base_maps, target) - probability
        gains[constant] = torch.nan
        return LibraEvidence(base_maps, signed, gains, float(probability))

    def combine(self, evidence: LibraEvidence, probe: Probe) -> LibraAttribution:
        """The map of the first ``size`` references; costs no pass."""
        base_maps, gains = evidence.base_maps[: self.size], evidence.gains[: self.size]
        usable = torch.isfinite(gains)
        kept = torch.zeros_like(usable)
        if self.official:
            kept = reject(gains)
        elif usable.any():
            kept[usable] = reject(gains[usable])
        signed = evidence.signed[: self.size]
        if not usable.any() or not torch.isfinite(base_maps[kept]).all():
            blank = (
                "Every base map is constant: the references look like the picture. Choose another library."
            )
            if usable.any():
                blank = "The released code returns NaN here: a constant base map enters the average."
            saliency = torch.zeros(probe.size, device=signed.device)
            return LibraAttribution(saliency, signed.mean(0), blank, gains=gains, kept=kept)
        shown, average = base_maps[kept].mean(0), signed[kept].mean(0)
        saliency = upsample(shown[None], probe.size)[0]
        return LibraAttribution(saliency, average, None, gains=gains, kept=kept)


def reject(gains: Tensor) -> Tensor:
    """Which references to keep (N,) bool, from their gains (N,).

    If any gain is positive, the positive ones not below their mean less one population deviation; else those
    above the mean plus one deviation of all; if that keeps none, all.
    """
    exact = gains.cpu().double()
    positive = exact > 0
    if positive.any():
        chosen = exact[positive]
        kept = positive & (exact >= chosen.mean() - chosen.std(correction=0))
        kept = kept if kept.any() else positive
    else:
        kept = exact > exact.mean() + exact.std(correction=0)
        kept = kept if kept.any() else torch.ones_like(kept)
    return kept.to(gains.device)
