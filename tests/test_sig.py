"""Sig-CAM: its search in float64, that it lowers what it should, where it looks, and its passes."""

import pytest
import torch
from papers.optimisation import regular, sig_cam
from scenes import make
from torch import nn

from explorer.backbones import Backbone, Opaque, Preprocessing
from explorer.methods import find
from explorer.probe import Probe

SigCAM = find("sig-cam")
SIZE = (64, 64)


@pytest.fixture(scope="module")
def squeezenet(original):
    return make("squeezenet1_1", original)


@pytest.mark.parametrize("official", [False, True])
def test_the_search_is_that_of_the_paper_step_by_step(squeezenet, official):
    """Past the half and four fifths of the iterations, where the area may count for less."""
    options = {"iterations": 5, "points": 3, "seed": 7, "official": official}
    target = squeezenet.ranking[1]
    ours = SigCAM(**options)(squeezenet.exact(), target)
    theirs = sig_cam(squeezenet.network, squeezenet.pixels, target, **options)
    assert ours.saliency.numpy() == pytest.approx(theirs.saliency, abs=1e-6)


def checkers():
    """(3, 64, 64), squares of 8 pixels, 0 or 1; blurring levels them."""
    return BRIGHT.float().repeat_interleave(8, 0).repeat_interleave(8, 1).expand(3, -1, -1)


BRIGHT = (torch.arange(8)[:, None] + torch.arange(8)) % 2 == 1


@pytest.fixture(scope="module")
def toy():
    """Classes: checkers in the left half, no checkers there, nothing."""
    squares = nn.Conv2d(3, 1, 8, stride=8, bias=False)
    head = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with torch.no_grad():
        squares.weight.fill_(1 / 192)
        head[1].weight.zero_()
        head[1].weight[0].view(8, 8)[:, :4] = torch.where(BRIGHT[:, :4], 0.25, -0.25)
        head[1].weight[1] = -head[1].weight[0]
        head[1].bias.copy_(torch.tensor([-2.0, 2.0, 0.0]))
    preprocessing = Preprocessing(64, SIZE, "bilinear", (0.0,) * 3, (1.0,) * 3)
    return Backbone("toy", nn.Sequential(Opaque(squares), Opaque(head)), preprocessing, ("a", "b", "c")).cut()


def test_high_is_what_must_be_blurred_to_lose_the_class(toy):
    probe = Probe(toy, checkers())
    assert probe.probabilities[0] > 0.8
    found = SigCAM()(probe, 0)
    assert found.signed.shape == (8, 8)
    assert found.saliency[:, :28].mean() > 2 * found.saliency[:, 36:].mean()


def test_the_search_lowers_area_roughness_and_probability_together(squeezenet):
    target = squeezenet.ranking[0]
    probe = squeezenet.probe()
    found = [SigCAM(iterations=count, points=4)(probe, target) for count in (1, 2, 3)]
    costs = []
    for attribution in found:
        mask = (1 - attribution.signed).double().numpy()
        after = float(attribution.notes[0].split(" and ")[1].split("%")[0]) / 100
        costs.append(regular(mask, 1.0)[0] + after)
    assert costs[0] > costs[1] > costs[2]


def test_the_noise_follows_the_seed(squeezenet):
    def saliency(seed):
        return SigCAM(iterations=1, points=2, seed=seed)(squeezenet.probe(), 0).saliency

    assert torch.equal(saliency(0), saliency(0))
    assert not torch.equal(saliency(0), saliency(1))


def test_passes_are_at_most_those_that_are_told_beforehand(squeezenet):
    method, probe = SigCAM(iterations=2, points=6), squeezenet.probe()
    method(probe, squeezenet.ranking[0])
    assert 2 + 2 * (6 + 1) <= probe.passes <= method.passes(probe.cut.layer) == 2 + 2 * (6 + 12)


@pytest.mark.parametrize(("value", "words"), [(0.0, "silent"), (float("nan"), "overflow")])
def test_a_blank_map_says_why(toy, value, words):
    found = SigCAM(iterations=2)(Probe(toy, torch.full((3, *SIZE), value)), 0)
    assert words in found.blank
    assert torch.equal(found.saliency, torch.zeros(SIZE))
