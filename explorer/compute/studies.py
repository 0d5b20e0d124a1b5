"""What can be learnt of the references of one Libra-CAM map. Each study is a value: equal studies say the same."""

from dataclasses import dataclass

import torch
from torch import Tensor

from explorer import convergence
from explorer.compute.engine import Gathered, Progress
from explorer.metrics import Canvas, Metric


@dataclass(frozen=True)
class BaseMaps:
    """The normalised base maps (n, h, w) of ``count`` references from the ``first`` on."""

    first: int
    count: int

    def __call__(self, gathered: Gathered, progress: Progress) -> Tensor:
        chosen = slice(self.first, min(self.first + self.count, gathered.method.size))
        return gathered.evidence.base_maps[chosen].nan_to_num().cpu()


@dataclass(frozen=True, eq=False)
class Contrasted:
    """How a Libra-CAM map comes about: the class map ``own`` (h, w) of the picture and ``theirs`` (n, h, w) of the
    references, whose differences are ``base_maps`` (n, h, w) once normalised."""

    own: Tensor
    theirs: Tensor
    base_maps: Tensor


@dataclass(frozen=True)
class Contrasts:
    """The gradient times the activation of the picture and of each reference, and the base maps. Costs no pass."""

    def __call__(self, gathered: Gathered, progress: Progress) -> Contrasted:
        probe, size = gathered.probe, gathered.method.size
        scored = gathered.method.scored(probe, gathered.target)
        gradient, indices = probe.gradient(scored), gathered.indices[:size]
        references = gathered.library.activations(indices).to(gradient)
        return Contrasted(
            (gradient * probe.activation).sum(0).cpu(),
            torch.einsum("khw,nkhw->nhw", gradient, references).cpu(),
            gathered.evidence.base_maps[:size].nan_to_num().cpu(),
        )


@dataclass(frozen=True, eq=False)
class Differences:
    """For each reference (n,) the difference of the class score (logit) between the picture and the reference:
    ``predicted`` by the linear approximation, which is the sum of the signed base map, and ``true``, from the head."""

    predicted: Tensor
    true: Tensor


@dataclass(frozen=True)
class Linearity:
    """How well the linear approximation that Libra-CAM rests on predicts score differences. Costs the head only."""

    def __call__(self, gathered: Gathered, progress: Progress) -> Differences:
        probe, indices = gathered.probe, gathered.indices[: gathered.method.size]
        scored = gathered.method.scored(probe, gathered.target)
        progress.begin("Scoring the references")

        def activations(chosen: slice) -> Tensor:
            return gathered.library.activations(indices[chosen]).to(probe.activation)

        logits = probe.head(activations, len(indices), scored)
        signed = gathered.evidence.signed[: len(indices)]
        true = probe.logits[scored] - logits
        return Differences(signed.flatten(1).sum(1).cpu(), true.cpu())


@dataclass(frozen=True)
class Convergence:
    """How the map changes as the library grows; see ``explorer.convergence``.

    Args:
        metric: measured of each map; None for the change of the map itself.
        orders: of the references, over which the values spread.
        largest: library size.
    """

    metric: Metric | None = None
    orders: int = 8
    largest: int | None = None

    def __call__(self, gathered: Gathered, progress: Progress) -> convergence.Spread:
        evidence, probe = gathered.evidence, gathered.probe
        growth = convergence.Growth(
            gathered.method,
            evidence,
            lambda positions: gathered.library.activations(gathered.indices[positions]),
            gathered.pinned,
            self.orders,
            convergence.steps(len(evidence), self.largest),
        )
        if self.metric is None:
            return convergence.map_change(growth, probe)
        canvas = Canvas(gathered.exact)
        passes = convergence.passes(growth, self.metric, probe.image[0].numel())
        progress.begin(f"Measuring {self.metric.title} against the library size", passes)
        return convergence.figure(growth, self.metric, probe, canvas, gathered.target)
