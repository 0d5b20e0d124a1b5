"""Opti-CAM: its whole search in float64, what it raises, when it stops, and what it does not depend on."""

import pytest
import torch
from papers.optimisation import opti_cam
from scenes import make
from torch import nn

from explorer.backbones import Backbone, Opaque, Preprocessing
from explorer.images import sample
from explorer.methods import find
from explorer.probe import Probe

OptiCAM = find("opti-cam")
SIZE = (8, 8)


@pytest.fixture(scope="module")
def cat(original):
    return make("efficientnet_lite0", original)


@pytest.fixture(scope="module")
def squeezenet(original):
    return make("squeezenet1_1", original)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalisation": "max"},
        {"normalisation": "sigmoid"},
        {"objective": "difference"},
        {"official": True, "iterations": 24},
        {"official": True, "iterations": 40, "rate": 1.0},
    ],
    ids=str,
)
def test_the_search_is_that_of_the_paper_step_by_step(squeezenet, options):
    """In float64: in float32 rounding flips the sign of small derivatives, which Adam makes a step of full length,
    so the searches of two correct programs part after a few iterations."""
    target, options = squeezenet.ranking[1], {"iterations": 12, **options}
    ours = OptiCAM(**options)(squeezenet.exact(), target)
    theirs = opti_cam(squeezenet.network, squeezenet.pixels, target, **options)
    assert ours.saliency.numpy() == pytest.approx(theirs.saliency, abs=1e-9)


def test_the_logit_rises(cat):
    """Adam at this rate overshoots now and then, but never falls back by a tenth of what it has gained: the paper's
    rule, which stops where the logit stands still, stops at the top and not in a trough."""
    probe = cat.probe()
    found = OptiCAM(iterations=30)(probe, cat.ranking[0])
    rise = found.objectives - found.objectives[0]
    assert rise[-1] > 1
    assert (rise.cummax(0).values - rise).max() < 0.1 * rise[-1]
    assert rise.max() - rise[-1] < 1e-3 * rise[-1]
    assert found.objectives[-1] == pytest.approx(logit_under(cat, found.saliency, cat.ranking[0]), abs=1e-3)


def logit_under(scene, saliency, target):
    return scene.network.logits(scene.pixels * saliency.double().numpy())[target]


def test_the_note_tells_the_iterations_and_the_two_probabilities(cat):
    target = cat.ranking[1]
    found = OptiCAM(iterations=4)(cat.probe(), target)
    before = cat.network.probabilities(cat.pixels)[target]
    after = cat.network.probabilities(cat.pixels * found.saliency.double().numpy())[target]
    [note] = found.notes
    assert note.startswith("4 iterations")
    assert f"{before:.1%} on the picture" in note
    assert f"{after:.1%} under the map" in note


def test_a_map_depends_on_nothing_else_that_is_explained(cat):
    preprocessing = cat.cut.backbone.preprocessing
    images = {name: preprocessing.tensor(sample(name)) for name in ("chelsea", "coffee")}

    def maps(*order):
        return {name: OptiCAM(iterations=3)(Probe(cat.cut, images[name]), 0).saliency for name in order}

    forth, back, alone = maps("chelsea", "coffee"), maps("coffee", "chelsea"), maps("coffee")
    assert torch.equal(forth["chelsea"], back["chelsea"])
    assert torch.equal(forth["coffee"], back["coffee"])
    assert torch.equal(forth["coffee"], alone["coffee"])


@pytest.mark.parametrize(
    ("options", "passes"), [({"iterations": 3}, 5), ({"iterations": 200, "official": True}, 52)]
)
def test_passes_are_those_of_a_search_to_the_end(options, passes):
    assert OptiCAM(**options).passes(None) == passes


def test_every_iteration_is_told_and_may_be_the_last(cat):
    told = []

    def tick(passes):
        told.append(passes)
        if len(told) == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        OptiCAM(iterations=30)(Probe(cat.cut, cat.image, tick=tick), 0)
    assert told == [1] * 4
    probe = cat.probe()
    OptiCAM(iterations=3)(probe, 0)
    assert probe.passes == OptiCAM(iterations=3).passes(cat.cut.layer)


def toy(*rows):
    """One channel for each row of weights of the three colours, averaged over quarters; the class is the first
    channel's mean."""
    trunk = nn.Conv2d(3, len(rows), 2, stride=2, bias=False)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(len(rows), 2, bias=False))
    with torch.no_grad():
        trunk.weight.copy_(torch.tensor(rows)[:, :, None, None].expand(-1, -1, 2, 2) / 4)
        head[2].weight.zero_()[0, 0] = 1
    preprocessing = Preprocessing(8, SIZE, "bilinear", (0.0,) * 3, (1.0,) * 3)
    model = nn.Sequential(Opaque(trunk), Opaque(head))
    return Backbone("toy", model, preprocessing, ("one", "other")).cut()


RAMP = torch.arange(64.0).reshape(1, 8, 8).expand(3, -1, -1) / 64


def test_the_search_stops_where_the_objective_stands_still():
    probe = Probe(toy((1.0, 1.0, 1.0)), RAMP)
    found = OptiCAM()(probe, 0)
    assert probe.passes == 3
    assert found.objectives[0] == found.objectives[1]
    assert found.notes[0].startswith("1 iterations")


def test_the_released_search_stops_at_the_first_check_that_finds_the_logit_lower(squeezenet):
    found = OptiCAM(official=True, iterations=40, rate=1.0)(squeezenet.exact(), squeezenet.ranking[1])
    made, every_tenth = len(found.objectives) - 1, found.objectives[::4]
    assert made < 40
    assert made % 4 == 0
    assert every_tenth[-1] < every_tenth[-2]
    assert (every_tenth[1:-1] >= every_tenth[:-2]).all()
    assert found.objectives[-1] == pytest.approx(
        black_under(squeezenet, found.saliency, squeezenet.ranking[1]), abs=1e-5
    )


def black_under(scene, saliency, target):
    """The logit of the pixels, not of the normalised picture, under a map."""
    mean, deviation = (
        torch.tensor(values)[:, None, None]
        for values in (scene.cut.backbone.preprocessing.mean, scene.cut.backbone.preprocessing.std)
    )
    masked = ((scene.image * deviation + mean) * saliency - mean) / deviation
    return scene.network.logits(masked)[target]


@pytest.mark.parametrize("normalisation", ["range", "max", "sigmoid"])
@pytest.mark.parametrize(
    ("image", "words"), [(0.0, "silent"), (1.0, "same value"), (float("nan"), "overflow")]
)
def test_a_constant_layer_gives_a_blank_map_with_a_reason(normalisation, image, words):
    probe = Probe(toy((1.0, 1.0, 1.0), (1.0, 0.0, 0.0)), torch.full((3, *SIZE), image))
    found = OptiCAM(normalisation=normalisation)(probe, 0)
    assert words in found.blank
    assert torch.equal(found.saliency, torch.zeros(SIZE))


def test_released_masks_leave_black_where_they_remove():
    """Of a white picture: the mean colour is 0 for the network, black is minus mean over deviation."""
    cut = toy((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    cut.backbone.preprocessing = Preprocessing(8, SIZE, "bilinear", (0.5,) * 3, (0.25,) * 3)
    image = torch.stack([RAMP[0], RAMP[0].T, RAMP[0]])
    found = OptiCAM(official=True, iterations=1)(Probe(cut, image), 0)
    seen = (image[0] * 0.25 + 0.5) * found.saliency
    assert found.objectives[-1].item() == pytest.approx(((seen - 0.5) / 0.25).mean().item(), abs=1e-6)
