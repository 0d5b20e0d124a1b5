"""Infidelity, measured by captum."""

from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.declaration import Paper, option
from explorer.metrics.base import Metric, register
from explorer.metrics.examined import Examined
from explorer.metrics.masked import MEAN


@register
@dataclass(frozen=True)
class Infidelity(Metric):
    name = "infidelity"
    title = "Infidelity"
    symbol = "Inf"
    paper = Paper(
        "On the (In)fidelity and Sensitivity of Explanations",
        "Yeh, Hsieh, Suggala, Inouye, Ravikumar",
        "NeurIPS",
        2019,
        "https://arxiv.org/abs/1901.09392",
    )
    kind = "perturbation"
    better = "lower"
    high = None
    cost = "a pass for each square, and one"
    good = "Rewards maps whose sum over a removed square tells by how much the probability falls, at the best scale."
    bad = "A map in [0, 1] cannot say that a removal helps."
    removed = MEAN

    squares: int = option(
        50,
        "How many random squares are removed in turn.",
        label="squares",
        source="here",
        low=2,
        high=1000,
    )
    side: int = option(
        56,
        "Of a square, in pixels of the network's input.",
        label="side",
        source="here",
        low=1,
        high=224,
    )
    seed: int = option(0, "Of the squares.", label="seed", source="here", low=0, high=9999)

    def unshared(self) -> int:
        return 1 + self.squares

    def value(self, shown: Examined, scores: Tensor) -> float:
        """Mean over squares of (scale * sum of the map in the square - fall of the probability without it)^2, with
        the scale that fits best; a removed pixel takes the mean colour"""
        from captum.metrics import infidelity  # brings matplotlib, which no other metric shall wait for

        generator = torch.Generator().manual_seed(self.seed)

        def removed(images: Tensor) -> tuple[Tensor, Tensor]:
            held = torch.zeros_like(images)
            height, width = images.shape[-2:]
            for one in held:
                top, left = (
                    int(torch.randint(max(1, length - self.side + 1), (), generator=generator))
                    for length in (height, width)
                )
                one[:, top : top + self.side, left : left + self.side] = 1
            return held, images * (1 - held)

        def probability(images: Tensor) -> Tensor:
            logits = shown.probe.logits_of(lambda chosen: images[chosen], len(images))
            return logits.double().softmax(1)[:, shown.target]

        [found] = infidelity(
            probability,
            removed,
            shown.probe.image[None],
            shown.saliency.double().expand(1, 3, -1, -1),
            n_perturb_samples=self.squares,
            normalize=True,
        )
        return max(float(found), 0.0)  # a difference of sums: rounding may take it below zero
