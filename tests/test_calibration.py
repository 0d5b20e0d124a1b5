"""The curve of a map and its cut, against loops over pixels and plain forward passes."""

import numpy as np
import pytest
import torch
from papers.network import softmax

from explorer.calibration import FINE_LEVELS, PAPER_LEVELS, Curve, calibrate, cut_map
from explorer.calibration import curve as measure_curve
from explorer.compute import Request
from explorer.errors import ExplorerError
from explorer.images import sample
from explorer.probe import Probe


def naive_cut(saliency, percent):
    flat = saliency.astype(np.float64).flatten()
    in_order = sorted(range(flat.size), key=lambda pixel: (flat[pixel], pixel))
    for pixel in in_order[: flat.size * percent // 100]:
        flat[pixel] = 0
    return flat.reshape(saliency.shape)


class Stub:
    """A probe whose masked probabilities are given."""

    def __init__(self, scores, probability):
        self.probabilities = torch.tensor([0.0, probability])
        self._scores = torch.tensor(scores)

    def scores(self, masks, target):
        assert target == 1
        self.masks = masks
        return self._scores


def curve(scores, probability=0.5, levels=PAPER_LEVELS, **options):
    return calibrate(Stub(scores, probability), torch.rand(4, 5), 1, levels, **options)


@pytest.mark.parametrize("values", [91, 4], ids=["all different", "many ties"])
def test_a_cut_is_that_of_a_loop_over_the_pixels(values):
    saliency = 1.0 + np.random.default_rng(0).permutation(91).reshape(7, 13).astype(np.float32) % values
    given = torch.from_numpy(saliency.copy())
    for percent in range(101):
        found = cut_map(given, percent).numpy()
        assert (found == 0).sum() == 91 * percent // 100
        assert np.array_equal(found, naive_cut(saliency, percent))
    assert np.array_equal(given.numpy(), saliency)


def test_ties_are_cut_in_reading_order():
    assert cut_map(torch.ones(2, 5), 30).tolist() == [[0, 0, 0, 1, 1], [1, 1, 1, 1, 1]]


def test_the_paper_levels_cut_as_many_pixels_as_the_released_code():
    published = [0, 5017, 10035, 15052, 20070, 25088, 30105, 35123, 40140, 45158]
    assert [int(50176 * 0.1 * i) for i in range(10)] == published
    saliency = 1 + torch.rand(224, 224, generator=torch.Generator().manual_seed(0))
    assert [int((cut_map(saliency, level) == 0).sum()) for level in PAPER_LEVELS] == published


def test_the_probabilities_are_those_of_pictures_masked_by_hand(lite0):
    """Many ties, so that a cut in another order than that of the loop shows."""
    image = lite0.preprocessing.tensor(sample("chelsea"))
    coarse = np.random.default_rng(1).integers(0, 9, (7, 7)) / 8
    saliency = coarse.repeat(32, 0).repeat(32, 1).astype(np.float32)
    found = calibrate(Probe(lite0.cut(), image), torch.from_numpy(saliency), 282)
    masked = np.stack([image.numpy() * naive_cut(saliency, level) for level in range(0, 100, 10)])
    with torch.inference_mode():
        logits = lite0(torch.from_numpy(np.stack([*masked, image.numpy()])).float()).double().numpy()
    *expected, whole = (softmax(row)[282] for row in logits)
    assert np.ptp(expected) > 0.01
    assert found.removed == tuple(range(0, 100, 10))
    assert found.probabilities == pytest.approx(expected, abs=1e-5)
    assert found.probability == pytest.approx(whole, abs=1e-5)
    assert found.cut == 10 * int(np.argmax(expected))
    assert found.gains == pytest.approx([value - whole for value in expected], abs=2e-5)


@pytest.mark.parametrize(
    ("scores", "cut"),
    [
        ([0.1] * 4 + [0.9] + [0.2] * 5, 40),
        ([0.1, 0.3, 0.3, 0.2, 0.3] + [0.0] * 5, 10),  # the first of equals
        ([0.2] * 10, 0),
        ([0.1] * 9 + [0.2], 90),
        ([0.3, 0.4] + [0.1] * 8, 10),  # all below the whole picture: still the best
    ],
)
def test_the_recommended_cut_is_the_first_best_level(scores, cut):
    assert curve(scores).cut == cut


@pytest.mark.parametrize(
    ("scores", "cut"),
    [
        ([0.6] * 4 + [0.9] + [0.6] * 5, 50),  # the level after the best one
        ([0.6, 0.9, 0.6, 0.9] + [0.6] * 6, 20),
        ([0.1, 0.2, 0.3, 0.4] + [0.1] * 6, 10),  # no increase: clipped gains are equal, the first counts
        ([0.9] + [0.6] * 9, 10),
        ([0.6] * 9 + [0.9], 100),
    ],
)
def test_the_official_code_cuts_one_level_further(scores, cut):
    assert curve(scores, official=True).cut == cut


def test_the_official_cut_after_the_last_level_leaves_nothing():
    saliency = 1 + torch.rand(4, 5)
    for levels in (PAPER_LEVELS, FINE_LEVELS):
        last = curve([0.6] * (len(levels) - 1) + [0.9], levels=levels, official=True)
        assert last.cut == 100
        assert not cut_map(saliency, last.cut).any()


@pytest.mark.parametrize("official", [False, True])
def test_gains_are_signed(official):
    found = curve([0.25, 0.75] + [0.5] * 8, official=official)
    assert found.gains == (-0.25, 0.25) + (0.0,) * 8
    assert found.probability == 0.5


def test_fine_levels_are_tested_one_by_one():
    probe = Stub([0.1] * 23 + [0.9] + [0.1] * 22, 0.5)
    saliency = 1 + torch.rand(20, 10)
    found = calibrate(probe, saliency, 1, FINE_LEVELS)
    assert found.removed == tuple(range(0, 91, 2))
    assert found.cut == 46
    assert [int((mask == 0).sum()) for mask in probe.masks] == [2 * level for level in range(0, 91, 2)]
    assert calibrate(probe, saliency, 1, FINE_LEVELS, official=True).cut == 48


@pytest.mark.parametrize("levels", [(), (0, 110), (-10,), (20, 10)])
def test_levels_that_are_no_percentages_are_refused(lite0, levels):
    probe = Probe(lite0.cut(), lite0.preprocessing.tensor(sample("chelsea")))
    with pytest.raises(ExplorerError, match="not ascending percentages"):
        calibrate(probe, torch.rand(224, 224), 0, levels)
    with pytest.raises(ExplorerError, match="not ascending percentages"):
        Request(levels=levels)


def network_curve(lite0, saliency, by, levels=PAPER_LEVELS):
    """What the library says, and logits (levels and the whole picture, classes) of pictures masked by hand."""
    image = lite0.preprocessing.tensor(sample("chelsea"))
    found = measure_curve(Probe(lite0.cut(), image), torch.from_numpy(saliency), 282, levels, by)
    if by == "area":
        masks = [naive_cut(saliency, level) for level in levels]
    else:
        masks = [np.where(saliency < level / 100 * saliency.max(), 0, saliency) for level in levels]
    pictures = np.stack([*(image.numpy() * mask for mask in masks), image.numpy()]).astype(np.float32)
    with torch.inference_mode():
        return found, masks, lite0(torch.from_numpy(pictures)).double().numpy()


@pytest.mark.parametrize("by", ["area", "value"])
def test_a_curve_is_that_of_pictures_masked_by_hand(lite0, by):
    coarse = 0.1 + 0.8 * np.random.default_rng(1).random((7, 7))
    saliency = coarse.repeat(32, 0).repeat(32, 1).astype(np.float32)
    found, masks, logits = network_curve(lite0, saliency, by)
    chances = [softmax(row)[282] for row in logits]
    assert found.removed == pytest.approx([100 * (mask == 0).mean() for mask in masks], abs=1e-9)
    assert found.probabilities == pytest.approx(chances[:-1], abs=1e-5)
    assert found.logits == pytest.approx(logits[:-1, 282].tolist(), abs=1e-4)
    assert found.values("gain") == pytest.approx([chance - chances[-1] for chance in chances[:-1]], abs=2e-5)
    assert (found.whole("probability"), found.whole("gain")) == (pytest.approx(chances[-1], abs=1e-5), 0)
    assert found.whole("logit") == pytest.approx(logits[-1, 282], abs=1e-4)
    assert found.best("probability") == found.best("gain") == int(np.argmax(chances[:-1]))
    assert found.best("logit") == int(np.argmax(logits[:-1, 282]))


def test_each_objective_has_its_own_cut_and_the_released_one_is_a_level_further():
    found = Curve("area", (0, 10, 20), (0.0, 10.0, 20.0), (0.5, 0.9, 0.6), (1.0, 2.0, 3.0), 0.4, 2.5)
    assert [found.best(objective) for objective in ("probability", "gain", "logit")] == [1, 1, 2]
    assert [found.best(one, official=True) for one in ("probability", "gain", "logit")] == [2, 2, 3]


def test_a_cut_by_value_keeps_what_reaches_the_share_of_the_highest():
    saliency = torch.tensor([[0.0, 0.2, 0.4], [0.5, 0.1, 0.8]])
    assert cut_map(saliency, 50, "value").tolist() == torch.tensor([[0, 0, 0.4], [0.5, 0, 0.8]]).tolist()
    assert torch.equal(cut_map(saliency, 0, "value"), saliency)
    assert (cut_map(saliency, 100, "value") > 0).sum() == 1


def test_levels_that_differ_by_rounding_are_a_tie_for_the_lowest():
    assert curve([0.5, 0.9, 0.9 + 5e-7, 0.2], levels=(0, 10, 20, 30)).cut == 10
    assert curve([0.5, 0.9, 0.9 + 5e-6, 0.2], levels=(0, 10, 20, 30)).cut == 20
