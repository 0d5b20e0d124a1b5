"""A map under examination: what metrics may ask of it, each answer computed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import torch
from torch import Tensor

from explorer.calibration import PAPER_LEVELS, Calibration, calibrate, cut_map, recommend
from explorer.metrics.perturbation import Canvas, Fill, Kept, Order, Perturbation
from explorer.probe import Probe

Explain = Callable[[Probe], Tensor]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Objects:
    """Where the target is: ``region`` (H, W) bool in the frame of the network's input, and the ``boxes`` (left, top,
    right, bottom) of its objects in pixels of that frame."""

    region: Tensor
    boxes: tuple[Box, ...] = ()

    @classmethod
    def inside(cls, box: Box, crop: Box, size: tuple[int, int]) -> Self:
        """The pixels of an input of ``size`` (H, W) whose centres lie in a box, which is, as the network's ``crop``,
        in fractions of the picture."""
        y, x = centres(crop, size)
        rows, columns = (y >= box[1]) & (y < box[3]), (x >= box[0]) & (x < box[2])
        return cls(rows[:, None] & columns)


def centres(crop: Box, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where the centres of the rows (H,) and columns (W,) of an input of ``size`` lie, as fractions of the picture of
    which it is the ``crop``, float64."""
    left, top, right, bottom = crop
    down, across = ((torch.arange(side, dtype=torch.float64) + 0.5) / side for side in size)
    return top + down * (bottom - top), left + across * (right - left)


class Examined:
    """A saliency map of one class of one picture, and the probability of that class on pictures made by it.

    Args:
        canvas: the picture, shared by all maps of it; its probe is in float32.
        target: index of the explained class.
        saliency: (H, W) in [0, 1]; one that is not finite is taken as blank.
        explain: makes the same map, (H, W), of another probe: another picture, or another network.
        official: its calibration is that of Libra-CAM's released code; see ``explorer.calibration.calibrate``.
        objects: where the target is, where that is known.
    """

    def __init__(
        self,
        canvas: Canvas,
        target: int,
        saliency: Tensor,
        explain: Explain,
        objects: Objects | None = None,
        *,
        official: bool = False,
    ) -> None:
        self.canvas = canvas
        self.target = target
        self.saliency = (
            saliency.to(canvas.image) if saliency.isfinite().all() else torch.zeros_like(canvas.image[0])
        )
        self.explain = explain
        self.objects = objects
        self.official = official
        self.rank = Order(self.saliency)
        self.cut = 0
        self._root = self
        self._known: dict[Perturbation, float] = {}
        self._again: dict[Fill, Tensor] = {}

    @property
    def probe(self) -> Probe:
        return self.canvas.probe

    @property
    def probability(self) -> float:
        """Of the target on the picture itself."""
        return float(self.canvas.logits.double().softmax(0)[self.target])

    def scores(self, asked: Sequence[Perturbation]) -> Tensor:
        """Probabilities (m,) float64 of the target on perturbed pictures; those not known yet cost a pass each."""
        gather([(self, asked)])
        known = self._root._known
        return torch.tensor([known[self._as_uncut(one)] for one in asked], dtype=torch.float64)

    def again(self, fill: Fill) -> Tensor:
        """(H, W), the map of the same method and class on x * S."""
        if fill not in self._again:
            [kept] = Kept.pictures([Kept(self.cut, fill)], self._root)
            self._again[fill] = self.explain(self.probe.seeing(kept))
        return self._again[fill]

    def calibration(self, levels: tuple[int, ...] = PAPER_LEVELS) -> Calibration:
        """The calibration curve; see ``explorer.calibration.calibrate``."""
        scores = self.scores([Kept(level) for level in levels])
        return recommend(levels, scores.float(), self.probability, official=self.official)

    def calibrated(self, percent: int) -> "Examined":
        """The map with its lowest values cut off; what is known of equal pictures is shared.

        Its method is the same followed by a calibration, so that is what is done to another picture, too.
        """

        def explain(probe: Probe) -> Tensor:
            saliency = self.explain(probe)
            return cut_map(saliency, calibrate(probe, saliency, self.target, official=self.official).cut)

        saliency = cut_map(self.saliency, percent)
        found = Examined(self.canvas, self.target, saliency, explain, self.objects, official=self.official)
        found.cut, found._root = max(self.cut, percent), self._root
        return found

    def _as_uncut(self, perturbation: Perturbation) -> Perturbation:
        return perturbation.of_cut_map(self.cut, self.saliency.numel()) if self.cut else perturbation


def gather(asked: Sequence[tuple[Examined, Sequence[Perturbation]]]) -> None:
    """Scores the perturbed pictures of several maps of one picture in common full batches, each of them once."""
    wanted = {(shown._root, shown._as_uncut(one)): None for shown, several in asked for one in several}
    missing = [(shown, one) for shown, one in wanted if one not in shown._known]
    if not missing:
        return

    def pictures(chosen: slice) -> Tensor:
        runs = groupby(missing[chosen], key=lambda pair: (id(pair[0]), type(pair[1])))
        found = []
        for _, run in runs:
            pairs = list(run)
            found.append(type(pairs[0][1]).pictures([one for _, one in pairs], pairs[0][0]))
        return torch.cat(found) if len(found) > 1 else found[0]

    logits = missing[0][0].probe.logits_of(pictures, len(missing))
    targets = torch.tensor([shown.target for shown, _ in missing], device=logits.device)
    probabilities = logits.double().softmax(1).gather(1, targets[:, None])[:, 0].tolist()
    for (shown, one), probability in zip(missing, probabilities, strict=True):
        shown._known[one] = probability
