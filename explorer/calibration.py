"""Threshold calibration: which part of a map to keep, for any method.

The smallest values of a map are set to zero step by step, and the target's probability on the masked picture
is watched (Lee and Han, Libra-CAM, IJCAI 2022).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from explorer.errors import ExplorerError
from explorer.probe import Probe

PAPER_LEVELS = tuple(range(0, 100, 10))
FINE_LEVELS = tuple(range(0, 92, 2))
ROUNDING = 1e-6
"""Probabilities that differ by no more are equal but for the rounding of float32 passes."""

By = Literal["area", "value"]
Objective = Literal["probability", "gain", "logit"]


class NoScoreError(ExplorerError):
    """A network that gives no probability for a masked picture."""


@dataclass(frozen=True)
class Calibration:
    """The curve of one map.

    Args:
        removed: tested levels, in percent of the area removed.
        probabilities: of the target on the masked picture at each level.
        probability: of the target on the picture itself.
        cut: the recommended level, in percent removed.
    """

    removed: tuple[int, ...]
    probabilities: tuple[float, ...]
    probability: float
    cut: int

    @property
    def gains(self) -> tuple[float, ...]:
        """Masked less original probability, in [-1, 1]; not clipped."""
        return tuple(masked - self.probability for masked in self.probabilities)


def calibrate(
    probe: Probe,
    saliency: Tensor,
    target: int,
    levels: tuple[int, ...] = PAPER_LEVELS,
    *,
    official: bool = False,
) -> Calibration:
    """The calibration curve of a saliency map (H, W) and the cut it recommends: the level with the highest
    masked probability, the lowest such level on a tie, which a difference of ``ROUNDING`` still is.

    Args:
        levels: percent of the area removed, ascending; one forward pass each.
        official: as in the authors' released code: gains are clipped at 0 before the best is sought, and the
            level after the best one is applied, so that a best last level leaves a blank map.

    Raises:
        ExplorerError: no level, one that is no percentage, or levels out of order.
    """
    check_levels(levels)
    scores = probe.scores(_cut_levels(saliency, levels), target)
    return recommend(levels, scores, float(probe.probabilities[target]), official=official)


def recommend(
    levels: tuple[int, ...], scores: Tensor, probability: float, *, official: bool = False
) -> Calibration:
    """The curve of measured levels, and the cut that follows from it.

    Args:
        levels, official: as of ``calibrate``.
        scores: (n,), probabilities of the target on the masked picture.
        probability: of the target on the picture itself.

    Raises:
        NoScoreError: a score is not finite.
    """
    if not scores.isfinite().all():
        raise NoScoreError(
            "The network answers a masked picture with numbers that are not finite, so no cut of the map can be "
            "recommended: choose another picture, or look into the network's weights."
        )
    best = best_level(scores, probability, official=official)
    cut = levels[best] if best < len(levels) else 100
    return Calibration(tuple(levels), tuple(scores.tolist()), probability, cut)


def best_level(scores: Tensor, original: float, *, official: bool = False) -> int:
    """The position of the recommended level among measured ones (n,); see ``calibrate``. As released it can be n.

    Args:
        original: score of the picture itself.
    """
    if official:
        return int((scores - original).clamp(min=0).argmax()) + 1
    rounding = ROUNDING * max(1.0, float(scores.abs().max()))
    return int((scores >= scores.max() - rounding).nonzero()[0])


@dataclass(frozen=True)
class Curve:
    """What the network says of a picture under one map that is cut at several levels.

    Args:
        by: what the levels are percentages of: the area removed, or the map's highest value, below which all is
            removed.
        removed: percentage of the area that each level removes.
        probabilities, logits: of the target on the masked picture at each level.
        probability, logit: of the target on the picture itself.
    """

    by: By
    levels: tuple[int, ...]
    removed: tuple[float, ...]
    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    probability: float
    logit: float

    def values(self, objective: Objective) -> tuple[float, ...]:
        """The curve: probabilities, gains (less that of the picture itself) or logits."""
        values = self.logits if objective == "logit" else self.probabilities
        return tuple(value - self.probability for value in values) if objective == "gain" else values

    def whole(self, objective: Objective) -> float:
        """What ``values`` would be on the picture itself."""
        return {"probability": self.probability, "gain": 0.0, "logit": self.logit}[objective]

    def best(self, objective: Objective, *, official: bool = False) -> int:
        """The position of the recommended level; as released the next one, which there may not be."""
        return best_level(
            torch.tensor(self.values(objective), dtype=torch.float64),
            self.whole(objective),
            official=official,
        )


def curve(probe: Probe, saliency: Tensor, target: int, levels: tuple[int, ...], by: By) -> Curve:
    """The curve of a saliency map (H, W), one forward pass a level.

    Raises:
        ExplorerError: no level, one that is no percentage, or levels out of order.
    """
    check_levels(levels)
    cut = torch.stack([cut_map(saliency, level, by) for level in levels])
    logits = probe.masked_logits(lambda chosen: cut[chosen], len(levels)).double()
    kept = [_kept(saliency, level, by).double().mean() for level in levels]
    return Curve(
        by,
        tuple(levels),
        tuple(100 * (1 - float(share)) for share in kept),
        tuple(logits.softmax(1)[:, target].tolist()),
        tuple(logits[:, target].tolist()),
        float(probe.logits.double().softmax(0)[target]),
        float(probe.logits[target]),
    )


def check_levels(levels: tuple[int, ...]) -> None:
    """Refuses levels that are not ascending percentages."""
    if not levels or list(levels) != sorted(levels) or not 0 <= levels[0] <= levels[-1] <= 100:
        raise ExplorerError(
            f"The calibration levels {levels} are not ascending percentages of the area: give some, such as 0, 10, 20."
        )


def cut_map(saliency: Tensor, percent: int, by: By = "area") -> Tensor:
    """The map (H, W) with its ``percent`` smallest values, or those below ``percent`` of the highest, set to zero; the
    others keep theirs.

    Ties at the cut fall in reading order.
    """
    return saliency * _kept(saliency, percent, by)


def _kept(saliency: Tensor, percent: int, by: By) -> Tensor:
    if by == "value":
        return saliency >= saliency.max() * percent / 100
    return ranks(saliency) >= saliency.numel() * percent // 100


def _cut_levels(saliency: Tensor, levels: tuple[int, ...]) -> Tensor:
    removed = torch.tensor([saliency.numel() * level // 100 for level in levels], device=saliency.device)
    return saliency * (ranks(saliency) >= removed[:, None, None])


def ranks(saliency: Tensor) -> Tensor:
    """(H, W) int64, 0 for the lowest value of a map; ties in reading order."""
    order = saliency.flatten().argsort(stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    return rank.unflatten(0, saliency.shape)
