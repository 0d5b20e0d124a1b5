"""How the map and its figures change as a library grows, against loops in float64 and against the engine."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from papers.libra import rejection
from papers.network import upsampled

from explorer import METRICS, Engine, Request, sample
from explorer.compute import Convergence, Progress, all_references
from explorer.convergence import Growth, Spread, enough, map_change, steps
from explorer.methods.libra import LibraCAM, LibraEvidence

SIZE = (12, 12)
PROBE = SimpleNamespace(size=SIZE, precision="float32")
NAN = float("nan")


def growth(references=30, orders=4, pinned=0, sizes=(1, 2, 5, 10, 30)):
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(references, 4, 4, generator=generator)
    gains = torch.rand(references, generator=generator) - 0.5
    evidence = LibraEvidence(maps, maps, gains, 0.5)
    return Growth(LibraCAM(), evidence, lambda positions: maps[positions], pinned, orders, sizes)


def naive_map(grown, order, size, pinned=0):
    gains = grown.evidence.gains.double().tolist()
    kept = rejection([gains[place] for place in order[:size]])
    kept = [keep or position < pinned for position, keep in enumerate(kept)]
    chosen = [
        grown.evidence.base_maps[place].double().numpy()
        for place, keep in zip(order[:size], kept, strict=True)
        if keep
    ]
    return upsampled(sum(chosen) / len(chosen), SIZE)


@pytest.mark.parametrize("pinned", [0, 3])
def test_the_map_change_is_that_of_a_loop_over_sizes_and_orders(pinned):
    grown = growth(pinned=pinned)
    found = map_change(grown, PROBE)
    whole = naive_map(grown, grown.order(0).tolist(), 30, pinned)
    assert found.sizes == grown.sizes
    assert [len(values) for values in found.values] == [4, 4, 4, 4, 1]
    for size, values in zip(found.sizes, found.values, strict=True):
        for seed, value in enumerate(values):
            saliency = naive_map(grown, grown.order(seed).tolist(), size, pinned)
            expected = 1 - np.corrcoef(saliency.ravel(), whole.ravel())[0, 1]
            assert value == pytest.approx(expected, abs=1e-5)
    assert found.values[-1][0] == pytest.approx(0, abs=1e-12)
    assert max(found.values[0]) > 0.1


def test_orders_are_permutations_with_the_pinned_first():
    grown = growth(pinned=3)
    orders = [grown.order(seed).tolist() for seed in range(4)]
    assert orders[0] == list(range(30))
    assert all(sorted(order) == list(range(30)) and order[:3] == [0, 1, 2] for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert grown.order(2).tolist() == growth(pinned=3).order(2).tolist()


def test_a_blank_map_has_changed_wholly():
    grown = growth(3, orders=1, sizes=(1, 3))
    gains = torch.tensor([NAN, 0.5, 0.5])
    grown = replace(grown, evidence=replace(grown.evidence, gains=gains))
    assert map_change(grown, PROBE).values[0] == (1.0,)


@pytest.mark.parametrize(
    ("references", "largest", "sizes"),
    [
        (1, None, (1,)),
        (5, None, (1, 2, 5)),
        (100, None, (1, 2, 5, 10, 20, 50, 100)),
        (237, 100, (1, 2, 5, 10, 20, 50, 100)),
        (237, None, (1, 2, 5, 10, 20, 50, 100, 200, 237)),
    ],
)
def test_sizes(references, largest, sizes):
    assert steps(references, largest) == sizes


@pytest.mark.parametrize(
    ("means", "size"),
    [
        ((0.5, 0.009, 0.02, 0.009, 0.0), 10),  # from there on, not there once
        ((0.5, 0.5, 0.5, 0.5, 0.0), 30),
        ((0.001, 0.0, 0.0, 0.0, 0.0), 1),
        ((0.5, 0.01, 0.005, 0.0, 0.0), 5),  # below, not at
    ],
)
def test_enough_is_the_size_from_which_the_change_stays_small(means, size):
    assert enough(Spread((1, 2, 5, 10, 30), tuple((mean, mean) for mean in means))) == size


def test_figures_are_those_of_the_engine_and_cost_what_is_said():
    """Of the selection's own order; and a library of another order is another library."""
    engine, picture, request = Engine("cpu"), sample("chelsea"), Request(method=LibraCAM())
    whole = all_references(request)
    engine.measure(picture, whole)
    for name, passes in (("average-gain", 3 * 2), ("adcc", 2 * (1 + 2) + 2 * (1 + 3) + 2 * (1 + 6))):
        metric, told = METRICS[name](), Told()
        found = engine.study(picture, whole, Convergence(metric, orders=2, largest=5), told)
        assert found.sizes == (1, 2, 5)
        assert told.totals[-1] == told.steps == passes
        for size, values in zip(found.sizes, found.values, strict=True):
            [figures] = engine.figures(picture, [replace(request, method=LibraCAM(size=size))], [metric])
            assert values[0] == pytest.approx(figures.plain[name], abs=1e-4)
            assert values[1] != values[0]


class Told(Progress):
    """Remembers how the last stage went."""

    def __init__(self):
        self.totals, self.steps = [], 0

    def begin(self, stage, total=0):
        self.totals.append(total)
        self.steps = 0

    def advance(self, steps):
        self.steps += steps
