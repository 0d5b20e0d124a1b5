"""The methods against the papers' formulas in float64, the identities of linear heads, and two rivals."""

import copy
from dataclasses import fields, replace

import captum.attr
import numpy as np
import papers
import pytest
import pytorch_grad_cam
import torch
import torchcam.methods
from papers.fullgrad import corners_aligned
from papers.libra import calibration, libra_cam, rejection
from papers.network import normalised, upsampled, weighted_sum
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from scenes import LAYERS, make
from torch import nn

from explorer.backbones import Backbone, Opaque, Preprocessing
from explorer.calibration import calibrate
from explorer.declaration import OptionError, options_of
from explorer.methods import METHODS, UnknownMethodError, find
from explorer.methods.libra import LibraCAM, LibraEvidence, reject
from explorer.probe import Probe, normalise, upsample

LINEAR_HEADS = ["efficientnet_lite0", "resnet50"]
NAN = float("nan")


@pytest.fixture(scope="module", params=LAYERS)
def scene(request, original):
    return make(request.param, original)


def variants():
    """Every registered method, and with each of its switches and choices; costly ones with the options of the table."""
    for method in METHODS.values():
        plain = method(**papers.OPTIONS.get(method.name, {}))
        yield pytest.param(plain, id=method.name)
        for item in fields(method):
            others = [True] if item.default is False else item.metadata["choices"]
            for value in others:
                if value != item.default:
                    variant = replace(plain, **{item.name: value})
                    yield pytest.param(variant, id=f"{method.name} {item.name} {value}")


@pytest.mark.parametrize("method", list(variants()))
def test_the_map_and_the_references_kept_are_those_of_the_paper(scene, method, record_property):
    """For the predicted class of every other network and the second of the rest."""
    name = scene.cut.backbone.name
    if name in papers.UNDEFINED.get(method.name, ()):
        assert f"not at {scene.cut.layer.name} of {name}" in method.undefined(scene.cut)
        return
    assert method.undefined(scene.cut) is None
    target = scene.ranking[list(LAYERS).index(name) % 2]
    probe = scene.exact() if method.name in papers.EXACT else scene.probe()
    ours = method(probe, target, torch.from_numpy(scene.references))
    if name in papers.BLANK.get(method.name, ()):
        assert ours.blank
        return
    theirs = scene.paper(method, target)
    difference = float(abs(ours.saliency.double().numpy() - theirs.saliency).max())
    record_property("maximum difference", difference)
    assert (ours.blank is None) == theirs.saliency.any()
    assert difference < 1e-4
    if theirs.kept is not None:
        assert ours.kept.tolist() == theirs.kept
        assert ours.gains.tolist() == pytest.approx(theirs.gains, abs=1e-4)


@pytest.fixture(scope="module")
def small_probe():
    """Seeded random weights, small enough for every variant of every method."""
    torch.manual_seed(2)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
    model = nn.Sequential(*trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    nn.init.normal_(model[-1].weight, std=10)
    preprocessing = Preprocessing(16, (16, 16), "bilinear", (0.0,) * 3, (1.0,) * 3)
    return Probe(Backbone("small", model.eval(), preprocessing, tuple("abcd")).cut(), torch.rand(3, 16, 16))


UNITLESS = {"libra-cam", "opti-cam", "fullgrad", "agf", "fake-cam", "random", "centre-gaussian", "constant"}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("method", [*variants(), find("layer-cam")(stages=2)])
def test_the_extent_undoes_the_scaling(small_probe, method, rank):
    """In the method's own units the map is the signed one, rectified or not, up-sampled."""
    target = int(small_probe.logits.argsort(descending=True)[rank])
    found = method(small_probe, target, torch.rand(3, *small_probe.activation.shape))
    unitless = method.name in UNITLESS or str(method) in ("layer-cam:stages=2", "relevance-cam:official")
    assert (found.extent is None) == (unitless or found.blank is not None)
    if found.extent is None:
        return
    signed = found.signed.double().numpy()
    if method.name not in ("relevance-cam", "sig-cam"):
        signed = signed.clip(min=0)
    low, high = found.extent.tolist()
    values = low + (high - low) * found.saliency.double().numpy()
    grow = (
        corners_aligned
        if method == find("sig-cam")(**papers.OPTIONS["sig-cam"], official=True)
        else upsampled
    )
    expected = grow(signed, small_probe.size)
    assert values == pytest.approx(expected, abs=1e-5 * abs(expected).max())


@pytest.mark.parametrize("method", [LibraCAM(), LibraCAM(official=True), find("grad-cam")()], ids=str)
def test_the_cut_is_that_of_the_paper(scene, method):
    probe, target = scene.probe(), scene.ranking[0]
    official = isinstance(method, LibraCAM) and method.official
    ours = method(probe, target, torch.from_numpy(scene.references)).saliency
    theirs = scene.paper(method, target).saliency
    curve = calibrate(probe, ours, target, official=official)
    masked, cut = calibration(scene.network, scene.pixels, theirs, target, range(10), official)
    assert curve.cut == cut
    assert curve.probabilities == pytest.approx(masked, abs=5e-3)  # rounding breaks ties at the map's rim


def class_maps(scene, target, activation):
    """CAM: the activation weighted by the last layer's weights of a class, in float64."""
    head = [module for module in scene.model.modules() if isinstance(module, nn.Linear)][-1]
    return weighted_sum(head.weight[target].double().detach().numpy(), activation.astype(np.float64))


@pytest.mark.parametrize("scene", LINEAR_HEADS, indirect=True)
def test_grad_cam_is_the_class_map_of_a_linear_head(scene):
    probe = scene.probe()
    target = int(probe.logits.argmax())
    found = find("grad-cam")()(probe, target)
    expected = class_maps(scene, target, scene.network.activation(scene.image))
    assert found.signed.numpy() * expected.size == pytest.approx(expected, abs=1e-5 * abs(expected).max())
    relu = upsampled(expected.clip(min=0), probe.size)
    assert found.saliency.numpy() == pytest.approx(normalised(relu), abs=1e-4)


@pytest.mark.parametrize("scene", LINEAR_HEADS, indirect=True)
def test_grad_cam_plus_plus_has_its_closed_form_on_a_linear_head(scene):
    probe = scene.probe()
    target = int(probe.logits.argmax())
    activation, gradient, _ = scene.network.look(scene.image, target)
    size = gradient[0].size
    slope = gradient[:, 0, 0].clip(min=0)
    weights = size * slope / (2 + slope * activation.sum((1, 2)))
    found = find("grad-cam++")()(probe, target).signed.numpy()
    expected = weighted_sum(weights, activation)
    assert found == pytest.approx(expected, abs=1e-5 * abs(expected).max())


@pytest.mark.parametrize("scene", LINEAR_HEADS, indirect=True)
def test_a_base_map_is_the_difference_of_two_class_maps_and_sums_to_that_of_the_logits(scene):
    probe = scene.probe()
    target = int(probe.logits.argmax())
    references = torch.from_numpy(scene.references)
    signed = LibraCAM().evidence(probe, target, references).signed.double().numpy()
    here = class_maps(scene, target, scene.network.activation(scene.image))
    for base, reference in zip(signed, scene.references, strict=True):
        there = class_maps(scene, target, reference)
        assert base * here.size == pytest.approx(here - there, abs=1e-5 * abs(here).max())
        assert base.sum() == pytest.approx(here.mean() - there.mean(), abs=1e-4)
    logit = probe.logits[target] - scene.cut.head(references.float())[:, target]
    assert signed.sum((1, 2)) == pytest.approx(logit.numpy(), abs=1e-4)


@pytest.mark.parametrize("scene", ["vit_16"], indirect=True)
def test_gradient_times_activation_cancels_where_each_token_is_normalised(scene):
    activation, gradient, _ = scene.network.look(scene.pixels, 0)
    assert abs((gradient * activation).sum(0)).max() < 1e-6 * abs(gradient * activation).sum(0).max()
    assert "cancels at every position" in find("hires-cam")()(scene.probe(), 0).blank


def class_map_methods(scene):
    probe = scene.probe()
    target = int(probe.logits.argmax())
    for name in ("cam", "grad-cam", "xgrad-cam", "hires-cam"):
        method = find(name)()
        yield method, method(probe, target)


@pytest.mark.parametrize("scene", LINEAR_HEADS, indirect=True)
def test_four_methods_are_one_map_on_a_linear_head_and_say_so(scene):
    (_, first), *others = class_map_methods(scene)
    for method, found in others:
        assert found.saliency.numpy() == pytest.approx(first.saliency.numpy(), abs=1e-4)
        assert "one map here" in method.coincides(scene.cut)
    layer_cam = find("layer-cam")()
    assert "Layer-CAM is Grad-CAM" in layer_cam.coincides(scene.cut)


@pytest.mark.parametrize("scene", LINEAR_HEADS, indirect=True)
def test_noise_does_not_change_grad_cam_plus_plus_on_a_linear_head_and_that_is_said(scene):
    probe, target = scene.probe(), scene.ranking[1]
    plain, smooth, official = (
        find("grad-cam++")(),
        find("smooth-grad-cam++")(),
        find("grad-cam++")(official=True),
    )
    expected = plain(probe, target).saliency.numpy()
    assert smooth(probe, target).saliency.numpy() == pytest.approx(expected, abs=1e-4)
    assert plain.coincides(scene.cut) == smooth.coincides(scene.cut) != official.coincides(scene.cut)


@pytest.mark.parametrize("scene", ["squeezenet1_1", "vgg16", "convnext_tiny", "vit_16"], indirect=True)
def test_other_heads_are_not_called_linear(scene):
    assert not scene.cut.pooled_linear
    assert all(find(name)().coincides(scene.cut) is None for name in ("grad-cam", "grad-cam++", "layer-cam"))


@pytest.mark.parametrize("scene", ["resnet50"], indirect=True)
def test_stages_are_fused_by_their_maximum(scene):
    """2.11: shallower maps sharpened by tanh, then the pixel-wise maximum."""
    target = scene.ranking[0]
    size = scene.pixels.shape[1:]
    fused = np.zeros(size)
    for depth, name in enumerate(["layer4", "layer3", "layer2"]):
        activation, gradient, _ = scene.network.look(scene.pixels, target, name)
        values = (gradient.clip(min=0) * activation).sum(0)
        values = values / values.max()
        fused = np.maximum(fused, upsampled(np.tanh(2 * values) if depth else values, size))
    found = find("layer-cam")(stages=3)(scene.probe(), target)
    assert found.saliency.numpy() == pytest.approx(normalised(fused), abs=1e-4)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("scene", ["efficientnet_lite0"], indirect=True)
def test_passes_are_foretold(scene, method):
    chosen = method(**papers.OPTIONS.get(method.name, {}))
    probe = scene.probe()
    chosen(probe, scene.ranking[0], torch.from_numpy(scene.references))
    expected = chosen.passes(scene.cut.layer)
    assert probe.passes == min(expected, 1 + len(scene.references)) if chosen.needs_references() else expected


def by_captum(model, layer, image, target):
    found = captum.attr.LayerGradCam(model, layer).attribute(image, target, relu_attributions=True)
    return normalise(found.detach()[0])[0]


def by_torchcam(model, layer, image, target):
    with torchcam.methods.GradCAM(model, layer) as rival:
        [found] = rival(target, model(image))
    return found[0]


@pytest.mark.parametrize("rival", [by_captum, by_torchcam])
@pytest.mark.parametrize("scene", ["squeezenet1_1", "efficientnet_lite0"], indirect=True)
def test_grad_cam_agrees_with_rivals(scene, rival):
    probe = scene.probe()
    target = int(probe.logits.argmax())
    layer = scene.model.get_submodule(LAYERS[scene.cut.backbone.name])
    expected = rival(scene.model, layer, scene.image[None], target)
    found = normalise(find("grad-cam")()(probe, target).signed.relu())
    assert found.numpy() == pytest.approx(expected.detach().numpy(), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "rival"),
    [
        ("grad-cam", pytorch_grad_cam.GradCAM),
        ("hires-cam", pytorch_grad_cam.HiResCAM),
        ("layer-cam", pytorch_grad_cam.LayerCAM),
        ("xgrad-cam", pytorch_grad_cam.XGradCAM),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("scene", ["squeezenet1_1", "vgg16"], indirect=True)
def test_gradient_methods_agree_with_pytorch_grad_cam_on_relu_networks(scene, name, rival):
    """Its epsilons move its maps by less than 1e-3. Its Grad-CAM++ has one of the size of the squared gradients, so it
    is no oracle for that."""
    probe = scene.probe()
    target = int(probe.logits.argmax())
    model = copy.deepcopy(scene.model)
    layer = model.get_submodule(LAYERS[scene.cut.backbone.name])
    with rival(model=model, target_layers=[layer]) as cam:
        [expected] = cam(scene.image[None], [ClassifierOutputTarget(target)])
    found = find(name)()(probe, target).saliency.numpy()
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("scene", ["squeezenet1_1", "resnet50"], indirect=True)
def test_eigen_cam_agrees_with_the_projection_of_pytorch_grad_cam(scene):
    """It takes each channel's mean away first and leaves the sign to chance."""
    probe = scene.probe()
    [expected] = get_2d_projection(probe.activation[None].numpy())
    if abs(expected.min()) > abs(expected.max()):
        expected = -expected
    found = find("eigen-cam")(centred=True)(probe, 0).signed.numpy()
    assert found == pytest.approx(expected, abs=1e-4 * float(abs(expected).max()))


@pytest.mark.parametrize("scene", ["efficientnet_lite0"], indirect=True)
def test_a_smaller_library_is_a_prefix_of_a_larger_one(scene):
    probe, references = scene.probe(), torch.from_numpy(scene.references)
    everything = LibraCAM().evidence(probe, 282, references)
    for size in (1, 5, len(references)):
        method = LibraCAM(size=size)
        alone = libra_cam(scene.network, scene.pixels, 282, scene.references, size=size)
        found = method.combine(everything, probe)
        assert found.kept.tolist() == method(probe, 282, references).kept.tolist() == alone.kept
        assert found.saliency.numpy() == pytest.approx(alone.saliency, abs=1e-4)


@pytest.mark.parametrize(
    ("gains", "kept"),
    [
        ([0.1, 0.5, 0.5, 0.5, -0.2], [0, 1, 1, 1, 0]),  # positive: mean .4, deviation .173
        ([0.25, 0.75], [1, 1]),  # exactly mean less deviation stays
        ([0.1, 0.9, 0.9, 0.9, 0.9, 9.0], [1, 1, 1, 1, 1, 1]),  # none is too good
        ([-0.4, 0.3], [0, 1]),
        ([0.0, -0.5, -0.5, -0.5, -0.5], [1, 0, 0, 0, 0]),  # none positive: mean -.4, deviation .2
        ([-0.75, -0.25], [1, 1]),  # none over mean plus deviation, exactly there does not count: all
        ([-0.3, -0.3, -0.3], [1, 1, 1]),
        ([0.1, 0.1, 0.1], [1, 1, 1]),
        ([0.2], [1]),
        ([-0.2], [1]),
        ([NAN, 0.4, -0.1], [0, 1, 0]),  # a constant base map is never an increase,
        ([NAN, -0.5, 0.0, -0.5, -0.5], [1, 1, 1, 1, 1]),  # and without any it spoils the threshold
    ],
)
def test_rejection_by_gain(gains, kept):
    assert reject(torch.tensor(gains)).kept.tolist() == [bool(keep) for keep in kept]
    assert rejection(gains) == [bool(keep) for keep in kept]


@pytest.mark.parametrize(
    ("gains", "branch", "mean", "limit"),
    [
        ([0.25, 0.75, -9.0], "some raise", 0.5, 0.25),
        ([0.0, -0.5, -0.5, -0.5, -0.5], "some stand out", -0.4, -0.2),
        ([-0.75, -0.25], "none stands out", -0.5, None),
    ],
)
def test_a_rejection_says_by_which_branch_and_limit(gains, branch, mean, limit):
    found = reject(torch.tensor(gains))
    assert found.branch == branch
    assert (found.mean, found.limit) == (pytest.approx(mean), limit and pytest.approx(limit))
    among = LibraCAM().rejection(torch.tensor([NAN, *gains]))
    assert among.kept.tolist() == [False, *found.kept.tolist()]
    assert (among.branch, among.limit) == (found.branch, found.limit)


SIZE = (8, 8)


@pytest.fixture(scope="module")
def toy():
    """Classes: the first channel, the second channel, nothing. Exact in float32: every weight is a power of two."""
    trunk = nn.Conv2d(3, 2, 2, stride=2, bias=False)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3, bias=False))
    with torch.no_grad():
        trunk.weight.fill_(0.25)
        trunk.weight[1] *= -1
        head[2].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    preprocessing = Preprocessing(8, SIZE, "bilinear", (0.0,) * 3, (1.0,) * 3)
    model = nn.Sequential(Opaque(trunk), Opaque(head))
    return Backbone("toy", model, preprocessing, ("plus", "minus", "nothing")).cut()


@pytest.fixture
def toy_probe(toy):
    return Probe(toy, torch.arange(3 * 64).reshape(3, 8, 8) / 64)


def evidence(base_maps, gains):
    maps = torch.tensor(base_maps)[:, None, None] * torch.ones(1, 4, 4)
    return LibraEvidence(maps, maps, torch.tensor(gains), 0.5)


def test_the_kept_base_maps_are_averaged_and_not_stretched(toy_probe):
    found = LibraCAM().combine(evidence([0.25, 0.75, 0.125], [0.5, 0.5, -0.1]), toy_probe)
    assert found.blank is None
    assert torch.equal(found.saliency, torch.full(SIZE, 0.5))


def test_pinned_references_are_kept_whatever_their_gain(toy_probe):
    measured = evidence([0.25, 0.5, 1.0], [-0.5, NAN, 0.5])
    assert LibraCAM().combine(measured, toy_probe).kept.tolist() == [False, False, True]
    found = LibraCAM().combine(measured, toy_probe, pinned=2)
    assert found.kept.tolist() == [True, False, True], "but for one whose base map is constant"
    assert torch.equal(found.saliency, torch.full(SIZE, 0.625))
    first = LibraCAM(size=1).combine(measured, toy_probe, pinned=2)
    assert torch.equal(first.saliency, torch.full(SIZE, 0.25))


def test_evidence_in_another_order(toy_probe):
    taken = evidence([0.25, 0.5, 1.0], [0.1, 0.2, 0.3]).taken(torch.tensor([2, 0]))
    assert taken.gains.tolist() == pytest.approx([0.3, 0.1])
    assert taken.base_maps[:, 0, 0].tolist() == taken.signed[:, 0, 0].tolist() == [1.0, 0.25]


def test_a_constant_base_map_is_left_out(toy_probe):
    found = LibraCAM().combine(evidence([0.0, 0.25, 0.75], [NAN, -0.5, -0.5]), toy_probe)
    assert found.kept.tolist() == [False, True, True]
    assert torch.equal(found.saliency, torch.full(SIZE, 0.5))


def test_a_reference_like_the_picture_gives_a_constant_base_map(toy_probe):
    references = torch.stack([toy_probe.activation, torch.zeros(2, 4, 4)])
    found = LibraCAM()(toy_probe, 0, references)
    assert found.gains.isnan().tolist() == [True, False]
    assert found.kept.tolist() == [False, True]


@pytest.mark.parametrize(("official", "words"), [(False, "constant"), (True, "constant")])
def test_a_class_without_evidence_is_blank_with_a_reason(toy_probe, official, words):
    found = LibraCAM(official=official).evidence(toy_probe, 2, torch.zeros(3, 2, 4, 4))
    assert found.gains.isnan().all() == (not official)
    blank = LibraCAM(official=official).combine(evidence([NAN] * 3, [NAN] * 3), toy_probe)
    assert words in blank.blank
    assert torch.equal(blank.saliency, torch.zeros(SIZE))


def test_the_official_code_is_spoilt_by_a_constant_base_map_only_without_an_increase(toy_probe):
    method = LibraCAM(official=True)
    spoilt = method.combine(evidence([NAN, 0.5], [NAN, -0.5]), toy_probe)
    assert "NaN" in spoilt.blank
    assert spoilt.kept.tolist() == [True, True]
    assert not spoilt.saliency.any()
    saved = method.combine(evidence([NAN, 0.5], [NAN, 0.5]), toy_probe)
    assert saved.blank is None
    assert saved.kept.tolist() == [False, True]


def test_the_official_code_follows_the_top_logit_whatever_class_is_asked(toy_probe):
    references = torch.zeros(1, 2, 4, 4)
    top, asked = 0, 1
    assert int(toy_probe.logits.argmax()) == top
    official = LibraCAM(official=True).evidence(toy_probe, asked, references)
    assert torch.equal(official.signed, LibraCAM().evidence(toy_probe, top, references).signed)
    assert official.probability == pytest.approx(float(toy_probe.probabilities[asked]))


@pytest.mark.parametrize("references", [None, torch.zeros(0, 2, 4, 4)])
def test_libra_cam_without_references_is_refused(toy_probe, references):
    with pytest.raises(OptionError, match="library"):
        LibraCAM()(toy_probe, 0, references)


@pytest.mark.parametrize("name", ["grad-cam", "grad-cam++"])
@pytest.mark.parametrize(
    ("image", "target", "words"), [(1.0, 1, "speaks"), (0.0, 0, "silent"), (NAN, 0, "overflow")]
)
def test_a_blank_map_says_why(toy, name, image, target, words):
    found = find(name)()(Probe(toy, torch.full((3, *SIZE), image)), target)
    assert words in found.blank
    assert torch.equal(found.saliency, torch.zeros(SIZE))


def test_finer_cam_without_another_class_is_grad_cam():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
    )
    probe = Probe(
        Backbone("one", model, Preprocessing(8, SIZE, "bilinear", (0.0,) * 3, (1.0,) * 3), ("it",)).cut(),
        torch.rand(3, 8, 8),
    )
    found = find("finer-cam")()(probe, 0)
    assert torch.equal(found.signed, find("grad-cam")()(probe, 0).signed)
    assert "no other class" in found.notes[0]


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 100_001}, {"size": 2.0}, {"official": 1}])
def test_an_option_out_of_range_is_refused_by_name(options):
    with pytest.raises(OptionError, match=f"libra-cam: {next(iter(options))} "):
        LibraCAM(**options)


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(UnknownMethodError) as refusal:
        find("grad-kam")
    assert all(name in str(refusal.value) for name in ["grad-kam", *METHODS])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_option_is_described_and_its_default_is_allowed(method):
    assert method()
    for item in options_of(method):
        assert item["help"].endswith(".")
        assert item["source"]


def test_normalise_takes_constant_and_broken_maps_to_zero():
    maps = torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]], [[NAN, 1.0]], [[float("inf"), 1.0]]])
    assert normalise(maps).tolist() == [[[0.0, 1.0]], [[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]]


@pytest.mark.parametrize("size", [(7, 7), (224, 224), (9, 20)])
def test_upsample_is_bilinear_between_pixel_centres(size):
    maps = np.random.default_rng(0).random((3, 7, 7))
    expected = [upsampled(values, size) for values in maps]
    assert upsample(torch.from_numpy(maps), size).numpy() == pytest.approx(np.stack(expected), abs=1e-12)
