"""Whether the map depends on what the network has learnt."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from explorer.backbones import Cut, randomised, same_layer
from explorer.declaration import Paper, option
from explorer.metrics.agreement import rank_correlation
from explorer.metrics.base import Metric, register
from explorer.metrics.examined import Examined
from explorer.probe import Probe


def cascade(cut: Cut, stages: int) -> list[Cut]:
    """Where a cascade of randomisations stands: cuts evenly spread from the last layer back to the first, after each
    of which all weights are shuffled."""
    layers = cut.backbone.layers
    last = len(layers) - 1
    chosen = [last - round(stage * last / max(1, stages - 1)) for stage in range(stages)]
    return [cut.backbone.cut(layers[position].name) for position in dict.fromkeys(chosen)]


@register
@dataclass(frozen=True)
class Randomisation(Metric):
    name = "randomisation"
    title = "Similarity after randomisation"
    symbol = "Rand"
    paper = Paper(
        "Sanity Checks for Saliency Maps",
        "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim",
        "NeurIPS",
        2018,
        "https://arxiv.org/abs/1810.03292",
    )
    kind = "sanity"
    better = "lower"
    low = -1
    cost = "what the method costs, once more for each stage"
    good = "Unmasks maps that do not depend on the learnt weights."
    bad = "A map that changes is not therefore right; an inverted map scores below zero."

    stages: int = option(
        3,
        "How many networks, of which more and more is random: from what follows the last layer to all but the first.",
        label="stages",
        source="here",
        low=1,
        high=10,
    )
    seed: int = option(0, "Of the random weights.", label="seed", source="here", low=0, high=9999)

    def maps(self, shown: Examined) -> Iterator[tuple[str, Tensor]]:
        """For each stage the layer after which all weights are random, and the map (H, W) of that network."""
        cut = shown.probe.cut
        for after in cascade(cut, self.stages):
            probe = Probe(same_layer(cut, randomised(after, self.seed)), shown.probe.image)
            probe.tick = shown.probe.tick
            yield after.layer.name, shown.explain(probe)

    def remade(self) -> tuple[tuple[Metric, int], ...]:
        return tuple((self, stage) for stage in range(self.stages))

    def value(self, shown: Examined, scores: Tensor) -> float:
        """Mean over the stages of Spearman's rank correlation of the map with that of the randomised network; 0 for a
        constant map"""
        found = [rank_correlation(shown.saliency, other) for _, other in self.maps(shown)]
        return sum(found) / len(found)
