"""FullGrad: the parts add up to the logit of a ReLU network, and what is told where they do not."""

import re

import pytest
import torch
from papers.fullgrad import parts
from scenes import make
from torch import nn

from explorer.backbones import Backbone, Preprocessing
from explorer.methods import find
from explorer.probe import Probe

FullGrad = find("fullgrad")
SIZE = (8, 8)
PREPROCESSING = Preprocessing(8, SIZE, "bilinear", (0.0,) * 3, (1.0,) * 3)


def small(*tail, activation=nn.ReLU):
    """A network with a bias of every kind, seeded."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        activation(),
        nn.Conv2d(4, 4, 1),
        activation(),
        *tail,
    )
    model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    normalisation = body[1]
    for values in (normalisation.weight, normalisation.bias, normalisation.running_mean):
        nn.init.normal_(values)
    nn.init.uniform_(normalisation.running_var, 0.5, 2)
    return model


def probe_of(model, image=None):
    image = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(1)) if image is None else image
    return Probe(Backbone("small", model, PREPROCESSING, ("a", "b", "c")).cut(), image)


def told(note):
    """The sum of the parts, the logit, the part of the input and that of the biases."""
    return [float(number) for number in re.findall(r"(?:to|logit|input|biases) (-?[\d.]+(?:e-?\d+)?)", note)]


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet50", "vgg16"])
def test_a_relu_network_is_complete(name, original):
    scene = make(name, original)
    target = scene.ranking[0]
    assert FullGrad()(scene.probe(), target).notes[0].startswith("Complete")
    [note] = FullGrad()(scene.exact(), target).notes
    total, logit, of_input, of_biases = told(note)
    expected, exact = parts(scene.network, scene.pixels, target)
    assert sum(part.sum() for part in expected) == pytest.approx(exact, rel=1e-9)
    assert total == pytest.approx(exact, rel=1e-3)
    assert logit == pytest.approx(exact, rel=1e-3)
    assert of_input == pytest.approx(expected[0].sum(), rel=1e-3)
    assert of_biases == pytest.approx(sum(part.sum() for part in expected[1:]), rel=1e-3)


def test_how_far_another_network_is_from_complete_is_told():
    probe = probe_of(small(activation=nn.GELU))
    [note] = FullGrad()(probe, 1).notes
    assert note.startswith("Incomplete")
    total, logit, of_input, of_biases = told(note)
    assert logit == pytest.approx(float(probe.logits[1]), rel=1e-3)
    assert total == pytest.approx(of_input + of_biases, abs=1e-3)
    assert abs(total - logit) > 1e-3


def test_the_bias_of_a_linear_layer_is_counted_but_not_drawn():
    model = small()
    plain = FullGrad()(probe_of(model), 0)
    with torch.no_grad():
        model[-1].bias += 100
    moved = FullGrad()(probe_of(model), 0)
    assert torch.equal(moved.signed, plain.signed)
    assert told(moved.notes[0])[3] - told(plain.notes[0])[3] == pytest.approx(100, abs=0.1)
    assert moved.notes[0].startswith("Complete")


def test_the_class_is_the_one_that_is_asked():
    probe = probe_of(small())
    for target in range(3):
        assert told(FullGrad()(probe, target).notes[0])[1] == pytest.approx(
            float(probe.logits[target]), rel=1e-3
        )


@pytest.mark.parametrize("official", [False, True])
def test_a_network_without_biases_shows_input_times_gradient(official):
    """One linear map of the mean colour: the parts of the input are the picture itself."""
    model = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 3, bias=False),
    )
    with torch.no_grad():
        for values in model.parameters():
            values.fill_(1)
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(2))
    found = FullGrad(official=official)(probe_of(model, image), 0)
    summed = image.sum(0)
    expected = (summed - summed.min()) / (summed.max() - summed.min())
    torch.testing.assert_close(found.saliency, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_blank_map_says_why(value):
    model = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)
    )
    found = FullGrad()(probe_of(model, torch.full((3, *SIZE), value)), 0)
    assert found.blank
    assert torch.equal(found.saliency, torch.zeros(SIZE))


def test_two_passes():
    probe = probe_of(small())
    FullGrad()(probe, 0)
    assert probe.passes == FullGrad().passes(probe.cut.layer) == 2
