"""Libra-CAM: the class score linearised against references of other classes."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from explorer.backbones import Layer
from explorer.declaration import OptionError, Paper, option
from explorer.methods.base import Attribution, Blank, Method, register
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

    def taken(self, rows: Tensor) -> "LibraEvidence":
        """The evidence of these of the references (n,), in this order."""
        rows = rows.to(self.gains.device)
        return replace(self, base_maps=self.base_maps[rows], signed=self.signed[rows], gains=self.gains[rows])


@dataclass(frozen=True, eq=False, kw_only=True)
class LibraAttribution(Attribution):
    """An attribution with the references that made it: ``gains`` (N,) and ``kept`` (N,) bool."""

    gains: Tensor
    kept: Tensor


Branch = Literal["some raise", "some stand out", "none stands out"]


@dataclass(frozen=True, eq=False)
class Rejection:
    """Which references are kept (N,) bool, and by which branch of the rule: some raise the probability; none does but
    some stand out; none does either, so that all are kept.

    Args:
        mean, deviation: of the gains that the branch compares: the positive ones, or all of them.
        limit: the gain that a reference has to reach; None where all are kept.
    """

    kept: Tensor
    branch: Branch
    mean: float
    deviation: float
    limit: float | None


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
    blanks = (Blank.ALIKE, Blank.UNDEFINED)
    cost = "1 pass and one for each reference"
    good = (
        "Averages the differences from confident pictures of other classes, so what they share is cut away."
    )
    bad = "As good as its library, and it chooses references by the very probability that faithfulness measures."

    size: int = option(
        30,
        "References used, from the first of the selection; all of them where it has fewer.",
        label="library size",
        source="released code",
        low=1,
        high=100_000,
        quick=10,
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

    def __call__(
        self, probe: Probe, target: int, references: Tensor | None = None, pinned: int = 0
    ) -> LibraAttribution:
        """The plain average of the base maps n(sum_k g_k (A_k - R_k)), one for each reference R, that are kept.

        A base map's gain is the target probability under it less that on the picture. If any gain is positive, the
        positive ones not below their mean less one deviation are kept; else those above the mean of all plus one
        deviation; if there is none, all.

        Args:
            pinned: so many of the first references are kept whatever their gain.

        Raises:
            OptionError: no references.
        """
        if references is None or not len(references):
            raise OptionError("Libra-CAM needs a reference library: build one, or choose the built-in one.")
        return self.combine(self.evidence(probe, target, references[: self.size]), probe, pinned)

    def evidence(self, probe: Probe, target: int, references: Tensor) -> LibraEvidence:
        """The normalised base maps L_r = sum_k g_k (A_k - R_k) and their gains; one pass per reference."""
        gradient = probe.gradient(self.scored(probe, target))
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

    def scored(self, probe: Probe, target: int) -> int:
        """The class whose score is compared: the target, in the released code the predicted one."""
        return int(probe.logits.argmax()) if self.official else target

    def combine(self, evidence: LibraEvidence, probe: Probe, pinned: int = 0) -> LibraAttribution:
        """The map of the first ``size`` references, ``pinned`` as in a call; costs no pass."""
        base_maps, gains = evidence.base_maps[: self.size], evidence.gains[: self.size]
        usable = torch.isfinite(gains)
        kept = self.rejection(gains).kept
        kept[:pinned] |= usable[:pinned]
        signed = evidence.signed[: self.size]
        if not usable.any() or not torch.isfinite(base_maps[kept]).all():
            blank = Blank.UNDEFINED if usable.any() else Blank.ALIKE
            saliency = torch.zeros(probe.size, device=signed.device)
            return LibraAttribution(saliency, signed.mean(0), blank, gains=gains, kept=kept)
        shown, average = base_maps[kept].mean(0), signed[kept].mean(0)
        saliency = upsample(shown[None], probe.size)[0]
        return LibraAttribution(saliency, average, None, gains=gains, kept=kept)

    def rejection(self, gains: Tensor) -> Rejection:
        """What ``reject`` says of gains (N,); constant base maps, whose gain is NaN, are left out first, but not by the
        released code."""
        if self.official:
            return reject(gains)
        kept = torch.isfinite(gains)
        if not kept.any():
            return Rejection(kept, "none stands out", math.nan, math.nan, None)
        found = reject(gains[kept])
        kept[kept.clone()] = found.kept
        return replace(found, kept=kept)


def reject(gains: Tensor) -> Rejection:
    """Which references to keep, from their gains (N,).

    If any gain is positive, the positive ones not below their mean less one population deviation; else those
    above the mean plus one deviation of all; if that keeps none, all.
    """
    exact = gains.cpu().double()
    positive = exact > 0
    compared = exact[positive] if positive.any() else exact
    mean, deviation = float(compared.mean()), float(compared.std(correction=0))
    branch: Branch
    limit: float | None
    if positive.any():
        branch, limit = "some raise", mean - deviation
        kept = positive & (exact >= limit)
        kept = kept if kept.any() else positive
    else:
        branch, limit = "some stand out", mean + deviation
        kept = exact > limit
        if not kept.any():
            branch, limit, kept = "none stands out", None, torch.ones_like(kept)
    return Rejection(kept.to(gains.device), branch, mean, deviation, limit)
