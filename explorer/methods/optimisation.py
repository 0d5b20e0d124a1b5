"""Methods that search for the mask with which the network is surest of the class."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.backbones import Layer
from explorer.declaration import Paper, option
from explorer.methods.base import Attribution, Blank, Method, register, why_blank
from explorer.probe import Probe, upsample


@dataclass(frozen=True, eq=False, kw_only=True)
class OptiAttribution(Attribution):
    """An attribution with the search that made it.

    Args:
        objectives: (n,), what was to be raised, from the uniform weights to the weights of this map.
    """

    objectives: Tensor


@dataclass(frozen=True, eq=False)
class Iteration:
    """One step of a search: its map ``signed`` (h, w), the ``mask`` (H, W) made of it, the ``logits`` (C,) under the
    mask, and what was to be raised. Where the map is ``blank``, the mask is zero and the logits are the picture's."""

    signed: Tensor
    mask: Tensor
    logits: Tensor
    objective: float
    blank: Blank | None = None


@register
@dataclass(frozen=True)
class OptiCAM(Method):
    name = "opti-cam"
    title = "Opti-CAM"
    paper = Paper(
        "Opti-CAM: Optimizing saliency maps for interpretability",
        "Zhang, Torres, Sicre, Avrithis, Ayache",
        "CVIU",
        2024,
        "https://arxiv.org/abs/2301.07002",
    )
    family = "optimisation"
    needs = ("gradient",)
    cost = "2 passes, and a pass forward and back for each iteration"
    good = (
        "Finds the mix of channels that keeps the class best: unbeaten by the figures that mask the picture."
    )
    bad = "It optimises those very figures, and its maps spread to the background if that helps the class."

    normalisation: str = option(
        "range",
        "How the up-sampled map becomes a mask: by its minimum and maximum, by its maximum, or by a sigmoid.",
        label="normalisation",
        source="paper, table 6",
        choices=("range", "max", "sigmoid"),
    )
    objective: str = option(
        "mask",
        "What is sought: the largest logit under the mask, or the one nearest to that of the picture.",
        label="objective",
        source="paper",
        choices=("mask", "difference"),
    )
    iterations: int = option(
        100, "Steps at most.", label="iterations", source="paper", low=1, high=500, quick=50
    )
    rate: float = option(
        0.1, "Length of a step.", label="learning rate", source="paper", low=0.001, high=10.0
    )
    official: bool = option(
        False,
        "As the authors' code: at most 50 iterations, fewer if a check after each tenth of them finds the logit "
        "lower, removed pixels black instead of the mean colour, and no negative activation.",
        label="as released",
        source="github.com/hanwei0912/OptiCAM",
    )

    def passes(self, layer: Layer) -> int:
        """At most so many: the search may stop earlier."""
        return 2 + self._limit

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> OptiAttribution:
        """n(up(sum_k softmax(u)_k A_k)), u from uniform weights by Adam until the objective stands still.

        The maximum can only normalise what is not negative: with it negative activations count as 0.
        Each picture is optimised alone, so its map does not depend on what else is explained.
        """
        return self.concluded(self.search(probe, target), probe, target)

    def concluded(self, search: Iterable[Iteration], probe: Probe, target: int) -> OptiAttribution:
        """The map with which a search ends."""
        objectives: list[float] = []
        for last in search:
            if last.blank is not None:
                return OptiAttribution(
                    last.mask, last.signed, last.blank, objectives=torch.tensor(objectives)
                )
            objectives.append(last.objective)
        before, after = float(probe.probabilities[target]), float(last.logits.softmax(0)[target])
        note = f"{len(objectives) - 1} iterations: the probability of the class is {before:.1%} on the picture and "
        note += f"{after:.1%} under the map."
        return OptiAttribution(last.mask, last.signed, None, (note,), objectives=torch.tensor(objectives))

    def search(self, probe: Probe, target: int) -> Iterator[Iteration]:
        """The iterations, from the uniform weights to those of the map."""
        activation = probe.activation
        if self.official or self.normalisation == "max":
            activation = activation.relu()
        fill = _black(probe) if self.official else 0.0
        image = probe.image[None].contiguous(memory_format=torch.channels_last)
        channels = activation.movedim(0, -1).contiguous()
        u = activation.new_zeros(len(activation)).requires_grad_()
        adam = torch.optim.Adam([u], lr=self.rate)
        objectives: list[float] = []
        while True:
            with torch.enable_grad():
                signed = channels @ u.softmax(0)
                blank = why_blank(signed.detach(), probe)
                if blank is not None:
                    zero = torch.zeros(probe.size, device=signed.device)
                    yield Iteration(signed.detach(), zero, probe.logits, math.nan, blank)
                    return
                mask = self._normalised(upsample(signed[None], probe.size)[0])
                [logits] = probe.differentiable_logits((image - fill) * mask + fill)
                objective = logits[target]
                if self.objective == "difference":
                    objective = -(probe.logits[target] - objective).abs()
            objectives.append(objective.item())
            yield Iteration(signed.detach(), mask.detach(), logits.detach(), objectives[-1])
            if self._ends(objectives):
                return
            [u.grad] = torch.autograd.grad(-objective, u)
            adam.step()

    @property
    def _limit(self) -> int:
        return min(self.iterations, 50) if self.official else self.iterations

    def _normalised(self, raised: Tensor) -> Tensor:
        """A map (H, W), that is not constant, as a mask in [0, 1]."""
        if self.normalisation == "sigmoid":
            return raised.sigmoid()
        low, high = raised.aminmax()
        return raised / high if self.normalisation == "max" else (raised - low) / (high - low)

    def _ends(self, objectives: list[float]) -> bool:
        """Whether the last of the objectives found so far is that of the map to return."""
        made = len(objectives) - 1
        if made == self._limit:
            return True
        if self.official:
            pause = max(1, self._limit // 10)
            return made > 0 and made % pause == 0 and objectives[-1] < objectives[-1 - pause]
        return made > 0 and abs(objectives[-1] - objectives[-2]) < 1e-10


def _black(probe: Probe) -> Tensor:
    """Black in the units of the network's input (3, 1, 1)."""
    preprocessing = probe.cut.backbone.preprocessing
    mean, deviation = probe.image.new_tensor([preprocessing.mean, preprocessing.std])
    return (-mean / deviation)[:, None, None]
