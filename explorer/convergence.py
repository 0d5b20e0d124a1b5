"""How many references a Libra-CAM map needs: the map and its figures as the library grows, in several orders."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from explorer.methods.libra import LibraCAM, LibraEvidence
from explorer.metrics import Canvas, Examined, Metric, correlation, gather
from explorer.probe import Probe

ENOUGH = 0.01
"""A library is large enough from the size on at which the mean map change stays below this."""


@dataclass(frozen=True)
class Spread:
    """A figure of the maps of growing libraries: for each of the ``sizes`` (n,) its ``values``, one for each order."""

    sizes: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]

    @property
    def means(self) -> tuple[float, ...]:
        return tuple(sum(several) / len(several) for several in self.values)


@dataclass(frozen=True, eq=False)
class Growth:
    """Libraries that grow in several orders of the same measured references.

    Args:
        method: of which the size is disregarded.
        evidence: of all N references.
        references: given positions (n,) among them, their activations (n, K, h, w).
        pinned: so many of the first references come first in every order, and are always kept.
        orders: how many; the first is the given one, the others are drawn by seeds 1, 2, ...
        sizes: ascending, from 1 to N; where it is N all orders make one map, which is made once.
    """

    method: LibraCAM
    evidence: LibraEvidence
    references: Callable[[Tensor], Tensor]
    pinned: int
    orders: int
    sizes: tuple[int, ...]

    def order(self, seed: int) -> Tensor:
        """(N,), the order of a seed; of 0 the given one."""
        given = torch.arange(len(self.evidence))
        if seed:
            free = given[self.pinned :]
            shuffled = torch.randperm(len(free), generator=torch.Generator().manual_seed(seed))
            given = torch.cat([given[: self.pinned], free[shuffled]])
        return given

    def seeds(self, size: int) -> range:
        return range(self.orders if size < len(self.evidence) else 1)

    def saliency(self, probe: Probe, seed: int, size: int) -> Tensor:
        """(H, W), the map of the first references of an order; zeros where it is blank."""
        evidence = self.evidence.taken(self.order(seed)[:size])
        return replace(self.method, size=size).combine(evidence, probe, self.pinned).saliency

    def spread(self, values: Iterable[float]) -> Spread:
        """Values in the order of the sizes, and of the seeds of each."""
        given = iter(values)
        return Spread(self.sizes, tuple(tuple(next(given) for _ in self.seeds(size)) for size in self.sizes))


def steps(references: int, largest: int | None = None) -> tuple[int, ...]:
    """Library sizes 1, 2, 5, 10, 20, 50, ... up to so many references, the whole library the last.

    Args:
        largest: no size is larger than this.
    """
    steps = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    found = [*(size for size in steps if size < references), references]
    return tuple(size for size in found if largest is None or size <= largest)


def map_change(growth: Growth, probe: Probe) -> Spread:
    """1 - Pearson's correlation of each map with that of the whole library: 0 for the same map up to its scale, 1 for
    an unrelated or a blank one. Costs no pass."""
    whole = growth.saliency(probe, 0, len(growth.evidence))

    def change(seed: int, size: int) -> float:
        found = correlation(growth.saliency(probe, seed, size), whole)
        return 1.0 if found is None else 1 - found

    return growth.spread(change(seed, size) for size in growth.sizes for seed in growth.seeds(size))


def figure(growth: Growth, metric: Metric, probe: Probe, canvas: Canvas, target: int) -> Spread:
    """A metric of each map, plain. A masked probability takes a pass for each map; the coherency of ADCC makes that of
    the masked picture too, a pass for each of its references."""

    def examined(seed: int, size: int) -> Examined:
        chosen = growth.order(seed)[:size]
        method = replace(growth.method, size=size)

        def explain(other: Probe) -> Tensor:
            references, precise = growth.references(chosen), other.in_precision(probe.precision)
            return method(precise, target, references, growth.pinned).saliency

        return Examined(canvas, target, growth.saliency(probe, seed, size), explain)

    shown = [examined(seed, size) for size in growth.sizes for seed in growth.seeds(size)]
    gather([(one, metric.perturbations(one.saliency.numel())) for one in shown])
    return growth.spread(metric(one) for one in shown)


def passes(growth: Growth, metric: Metric, pixels: int) -> int:
    """How many forward passes ``figure`` takes."""
    return sum(metric.passes(pixels, size + 1) * len(growth.seeds(size)) for size in growth.sizes)


def enough(change: Spread, below: float = ENOUGH) -> int:
    """The smallest of the sizes from which on the mean stays below a bound; the last one if none does."""
    found = change.sizes[-1]
    for size, mean in zip(reversed(change.sizes), reversed(change.means), strict=True):
        if mean >= below:
            break
        found = size
    return found
