"""Each walk ends with the map that its method gives, and its steps say what the network itself says."""

import pytest
import torch
from scenes import make
from torch.nn.functional import interpolate

from explorer import METHODS, Engine, Request, sample
from explorer.compute import Contrasts
from explorer.methods import UndefinedMethodError
from explorer.methods.libra import LibraCAM
from explorer.walk import Browsing, Masking, Removing, Searching, Seeing, Weighting


@pytest.fixture(scope="module", params=["efficientnet_lite0", "squeezenet1_1", "vit_16"])
def scene(request, original):
    return make(request.param, original)


@pytest.fixture(scope="module")
def cat(original):
    return make("efficientnet_lite0", original)


def same(ours, theirs):
    assert ours.blank == theirs.blank
    assert float((ours.saliency - theirs.saliency).abs().max()) < 1e-6


def on_input(maps):
    """(n, h, w) to (n, 224, 224), each scaled to [0, 1]."""
    raised = interpolate(maps[:, None], (224, 224), mode="bilinear", align_corners=False)[:, 0]
    low, high = raised.amin((1, 2), keepdim=True), raised.amax((1, 2), keepdim=True)
    return (raised - low) / (high - low)


def test_what_is_seen(cat):
    probe = cat.probe()
    seen = Seeing()(probe, 0)
    assert seen.colours.shape == (224, 224, 3)
    assert (seen.low, seen.high) == (float(cat.image.min()), float(cat.image.max()))
    back = torch.from_numpy(seen.colours).movedim(2, 0) / 127.5 - 1
    assert float((back - cat.image).abs().max()) < 0.006
    assert seen.logits.argmax() == cat.ranking[0]


def test_channels_come_by_their_mean(scene):
    probe = scene.probe()
    browsed = Browsing(5)(probe, 0)
    means = [float(one.mean()) for one in probe.activation]
    assert browsed.channels.tolist() == sorted(range(len(means)), key=lambda k: -means[k])[:5]
    assert torch.equal(browsed.maps, probe.activation[browsed.channels])
    assert browsed.total == len(means)


def test_the_weight_of_a_channel_is_what_its_mean_adds_to_the_logit(scene):
    target = scene.ranking[0]
    browsed = Browsing(24)(scene.probe(), target)
    _, gradient, _ = scene.network.look(scene.pixels, target)
    expected = gradient.sum((1, 2))[browsed.channels]
    assert browsed.weights.tolist() == pytest.approx(expected.tolist(), abs=1e-3 * abs(expected).max())
    if not METHODS["cam"]().undefined(scene.cut):
        classifier = [module for module in scene.model.modules() if isinstance(module, torch.nn.Linear)][-1]
        linear = classifier.weight.detach()[target, browsed.channels]
        assert browsed.weights.tolist() == pytest.approx(linear.tolist(), abs=1e-5)


@pytest.mark.parametrize("name", ["cam", "grad-cam"])
def test_all_channels_make_the_map(scene, name):
    probe, target, method = scene.probe(), scene.ranking[1], METHODS[name]()
    if method.undefined(scene.cut):
        with pytest.raises(UndefinedMethodError, match="not at"):
            Weighting(name)(probe, target)
        return
    walked = Weighting(name)(probe, target)
    same(walked.made, method(probe, target))
    assert walked.added == walked.total == len(probe.activation)


def test_the_sum_of_some_channels_is_their_sum(cat):
    walked = Weighting("cam", added=3)(cat.probe(), cat.ranking[0])
    last = next(module for module in cat.model.modules() if isinstance(module, torch.nn.Linear))
    weights = last.weight.detach()[cat.ranking[0], walked.channels]
    assert walked.weights.tolist() == pytest.approx(weights.tolist(), abs=1e-5)
    by_hand = sum(w * a for w, a in zip(weights[:3], walked.maps[:3], strict=True))
    assert float((walked.made.signed - by_hand).abs().max()) < 1e-4
    saliency = on_input(by_hand.relu()[None])[0]
    assert float((walked.made.saliency - saliency).abs().max()) < 1e-5


def test_the_gradient_is_even_on_a_linear_head_only(cat):
    """There Grad-CAM is CAM; a layer earlier it is not."""
    target = cat.ranking[0]
    assert Weighting("grad-cam")(cat.probe(), target).uneven < 1e-5
    earlier = cat.probe().at(cat.cut.backbone.layers[-6].name)
    walked = Weighting("grad-cam")(earlier, target)
    assert walked.uneven > 0.1
    assert walked.weights.tolist() == pytest.approx(walked.gradients.mean((1, 2)).tolist(), abs=1e-7)


def test_scores_are_those_of_the_masks(scene):
    probe, target = scene.probe(), scene.ranking[0]
    walked = Masking(4)(probe, target)
    masks = (
        on_input(walked.masks)
        if probe.size == (224, 224)
        else interpolate(walked.masks[:, None], probe.size, mode="bilinear")[:, 0]
    )
    masks = masks - masks.amin((1, 2), keepdim=True)
    masks = masks / masks.amax((1, 2), keepdim=True)
    assert walked.scores.tolist() == pytest.approx(probe.scores(masks, target).tolist(), abs=1e-5)
    assert float(walked.weights.sum()) == pytest.approx(1, abs=1e-6)
    same(walked.made, METHODS["score-cam"](channels=4)(probe, target))


def test_contributions_add_up(scene):
    """To the logit of the picture less that of an activation of zeros; alone, a channel's fall is Ablation-CAM's."""
    probe, target = scene.probe(), scene.ranking[0]
    if METHODS["lift-cam"]().undefined(scene.cut):
        with pytest.raises(UndefinedMethodError):
            Removing()(probe, target)
        return
    walked = Removing()(probe, target)
    total = float(walked.shares.sum()) + walked.rest
    logit = float(probe.logits[target])
    assert logit - walked.empty == pytest.approx(total, rel=1e-3, abs=1e-3)
    assert float(walked.logits[0]) == pytest.approx(logit, abs=1e-4)
    assert walked.counts[-1] == len(probe.activation)
    if not scene.cut.layer.prefix:
        assert float(walked.logits[-1]) == pytest.approx(walked.empty, abs=1e-3)
        assert float(walked.predicted()[-1]) == pytest.approx(walked.empty, abs=2e-3)
    drops = probe.drops(target)[walked.channels[: len(walked.falls)]]
    assert walked.falls.tolist() == pytest.approx(drops.tolist(), abs=1e-4)
    same(walked.made, METHODS["lift-cam"]()(probe, target))


def test_on_a_linear_head_every_prefix_adds_up(cat):
    walked = Removing()(cat.probe(), cat.ranking[0])
    assert walked.logits.tolist() == pytest.approx(walked.predicted().tolist(), abs=1e-3)


def test_the_last_iteration_is_the_map(cat):
    probe, target = cat.probe(), cat.ranking[0]
    walked = Searching(4)(probe, target)
    same(walked.made, METHODS["opti-cam"](iterations=4)(probe, target))
    assert len(walked.signed) == 5
    assert torch.equal(walked.frame(4), walked.made.saliency)
    frames = torch.stack([walked.frame(number) for number in range(5)])
    assert walked.probabilities.tolist() == pytest.approx(probe.scores(frames, target).tolist(), abs=1e-4)
    uniform = on_input(probe.activation.mean(0, keepdim=True))[0]
    assert float((walked.frame(0) - uniform).abs().max()) < 1e-4
    assert walked.probability == float(probe.probabilities[target])


def test_differences_make_the_base_maps_and_those_the_map():
    picture, request = sample("chelsea"), Request(method=LibraCAM(size=6), library="on-the-fly")
    engine = Engine()
    explanation = engine.explain(picture, request)
    contrasted = engine.study(picture, request, Contrasts())
    differences = (contrasted.own - contrasted.theirs).flatten(1)
    low, high = differences.aminmax(dim=1, keepdim=True)
    scaled = ((differences - low) / (high - low)).view_as(contrasted.base_maps)
    assert float((scaled - contrasted.base_maps).abs().max()) < 1e-4
    average = contrasted.base_maps[explanation.references.kept].mean(0)
    raised = interpolate(average[None, None], (224, 224), mode="bilinear", align_corners=False)[0, 0]
    assert float((raised - explanation.attribution.saliency).abs().max()) < 1e-6
