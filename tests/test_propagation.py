"""Scores shared by rules that go backward: completeness, identities, captum, and refusals."""

import copy
import gc
import re
from concurrent.futures import ThreadPoolExecutor

import captum.attr
import numpy as np
import papers.agf
import papers.lift
import papers.network
import pytest
import torch
import torch.nn.functional as F
import torchvision
from scenes import LAYERS, make
from torch import nn

from explorer.backbones import Backbone, Opaque, Preprocessing
from explorer.methods import find
from explorer.methods.relevance import RelevanceCAM
from explorer.probe import Probe
from explorer.propagation import (
    EPSILON,
    RESCALE,
    Z_PLUS,
    Z_PLUS_BIASED,
    UnruledError,
    first_row,
    propagate,
)

TINY = Preprocessing(8, (8, 8), "bilinear", (0.0,) * 3, (1.0,) * 3)


@pytest.fixture(scope="module", params=LAYERS)
def scene(request, original):
    return make(request.param, original)


def contributions(probe, target):
    """Of the whole activation to the change of a logit from an activation of zeros, and that change."""
    both = torch.cat([probe.raw, torch.zeros_like(probe.raw)])
    logits, multipliers = propagate(probe.cut, both, RESCALE, first_row, target)
    with torch.no_grad():
        change = probe.logits[target] - probe.cut.head(both[1:])[0, target]
    assert float(logits[0]) == pytest.approx(float(probe.logits[target]), abs=1e-3)
    return multipliers[:1] * probe.raw, float(change)


@pytest.mark.parametrize("rank", [0, 1, 500])
def test_the_contributions_add_up_on_every_head(scene, rank, record_property):
    probe, target = scene.probe(), scene.ranking[rank]
    parts, change = contributions(probe, target)
    error = abs(float(parts.double().sum()) - change) / abs(change)
    record_property("relative error", error)
    assert error < 1e-4
    notes = find("lift-cam")()(probe, target).notes
    stated, within = re.fullmatch(r".* = (\S+) to within (\S+) of it, as they must\.", notes[0]).groups()
    assert float(stated) == pytest.approx(change, rel=2e-3)
    assert float(within) <= 1e-4
    assert len(notes) == (2 if scene.cut.layer.prefix else 1)


@pytest.mark.parametrize("scene", ["vit_16"], indirect=True)
def test_the_note_says_what_the_class_token_has(scene):
    probe, target = scene.probe(), scene.ranking[1]
    expected = papers.lift.vit_contributions(scene.network, scene.pixels, target)[0].sum()
    note = find("lift-cam")()(probe, target).notes[1]
    assert float(re.search(r"Of that (\S+) is the class token's", note)[1]) == pytest.approx(
        expected, rel=1e-3
    )


@pytest.mark.parametrize("scene", ["efficientnet_lite0", "resnet50"], indirect=True)
@pytest.mark.parametrize("name", ["lift-cam", "lrp-cam"])
def test_on_a_linear_head_a_channel_contributes_weight_times_mean(scene, name):
    probe, target = scene.probe(), scene.ranking[0]
    [*_, last] = [module for module in scene.model.modules() if isinstance(module, nn.Linear)]
    expected = torch.einsum(
        "k,khw->hw", last.weight[target].detach() * probe.activation.mean((1, 2)), probe.activation
    )
    method = find(name)()
    found = method(probe, target).signed
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-4 * float(expected.abs().max()))
    assert "linear in the channel means" in method.coincides(scene.cut)
    assert probe.passes == method.passes(scene.cut.layer) == 1


@pytest.mark.parametrize("scene", ["squeezenet1_1", "vgg16", "convnext_tiny"], indirect=True)
def test_elsewhere_nothing_is_said_to_coincide(scene):
    assert find("lift-cam")().coincides(scene.cut) is find("lrp-cam")().coincides(scene.cut) is None


class HeadForCaptum(nn.Module):
    """The head from fresh modules: captum wants every ReLU to be one of its own, and not in place.

    Its LRP refuses ``nn.Flatten``, and leaves the modules marked when it fails, so they are copies. Its DeepLIFT
    loses contributions at max pooling with overlapping windows, which these heads do not have. And where max pooling
    follows a ReLU at once, the ReLU sees the plain gradient in the place of what the pooling's rule gives.

    Args:
        start: the first of the ``features`` that belong to the head.
        apart: an operation that does nothing goes before every max pooling.
    """

    def __init__(self, scene, start, apart):
        super().__init__()
        model = copy.deepcopy(scene.model)
        linear = hasattr(model, "avgpool")
        before = [*model.features[start:], *([model.avgpool] if linear else model.classifier)]
        self.before = renewed(before, apart)
        self.after = renewed(model.classifier, apart) if linear else None
        self.eval()

    def forward(self, x):
        x = self.before(x).flatten(1)
        return self.after(x) if self.after else x


class Nothing(nn.Module):
    def forward(self, x):
        return x * 1


def renewed(modules, apart):
    fresh = []
    for module in modules:
        if apart and isinstance(module, nn.MaxPool2d):
            fresh.append(Nothing())
        fresh.append(nn.ReLU() if isinstance(module, nn.ReLU) else module)
    return nn.Sequential(*fresh)


def map_from(parts, activation):
    return torch.einsum("k,khw->hw", parts[0].detach().sum((1, 2)), activation).numpy()


RIVALS = {"lift-cam": captum.attr.DeepLift, "lrp-cam": captum.attr.LRP}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("scene", "layer", "start"),
    [("squeezenet1_1", None, 13), ("vgg16", None, 31), ("vgg16", "features.23", 24)],
    indirect=["scene"],
)
@pytest.mark.parametrize("name", RIVALS)
def test_agreement_with_captum_on_relu_heads(scene, layer, start, name, rank):
    probe, target = scene.probe(), scene.ranking[rank]
    if layer is not None:
        probe = probe.at(layer)
    activation = probe.raw.clone().requires_grad_()
    baseline = {"baselines": torch.zeros_like(activation)} if name == "lift-cam" else {}
    head = HeadForCaptum(scene, start, apart=name == "lift-cam")
    parts = RIVALS[name](head).attribute(activation, target=target, **baseline)
    expected = map_from(parts, probe.activation)
    found = find(name)()(probe, target).signed.numpy()
    assert found == pytest.approx(expected, abs=1e-4 * float(abs(expected).max()))


def test_captum_loses_contributions_at_overlapping_windows_and_we_do_not():
    head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.MaxPool2d(3, 2, 1), Flat(nn.Identity()))
    probe = toy(head)
    activation = probe.raw.clone().requires_grad_()
    theirs = captum.attr.DeepLift(head).attribute(activation, torch.zeros_like(activation), target=0)
    ours, change = contributions(probe, 0)
    assert float(ours.sum()) == pytest.approx(change, abs=1e-5)
    assert abs(float(theirs.sum()) - change) > 1e-2


def toy(head, image=None):
    """A random picture (3, 8, 8) seen by one convolution, whose output (4, 8, 8) this head follows."""
    torch.manual_seed(0)
    head(torch.zeros(1, 4, 8, 8))  # a lazy layer learns its size
    model = nn.Sequential(Opaque(nn.Conv2d(3, 4, 1, bias=False)), Opaque(head))
    cut = Backbone("toy", model, TINY, ("a", "b", "c")).cut()
    return Probe(cut, torch.randn(3, 8, 8) if image is None else image)


class Flat(nn.Module):
    """A function of maps made into three logits."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.linear = nn.LazyLinear(3)

    def forward(self, x):
        return self.linear(self.function(x).flatten(1))


class Attending(nn.Module):
    """Attention of two heads between the positions, then three logits."""

    def __init__(self, batch_first):
        super().__init__()
        self.batch_first = batch_first
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self.linear = nn.Linear(64 * 4, 3)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        if not self.batch_first:
            tokens = tokens.transpose(0, 1)
        mixed = self.attention(tokens, tokens, 2 * tokens, need_weights=False)[0]
        return self.linear((mixed if self.batch_first else mixed.transpose(0, 1)).flatten(1))


FUNCTIONS = {
    name: getattr(F, name)
    for name in (
        "relu",
        "relu6",
        "silu",
        "gelu",
        "hardswish",
        "hardsigmoid",
        "sigmoid",
        "tanh",
        "elu",
        "mish",
    )
} | {
    "overlapping max pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max pool after an offset": lambda x: F.max_pool2d(
        F.relu(x * -1 + torch.arange(64).reshape(8, 8) / 32), 2
    ),
    "adaptive pool of an odd size": lambda x: F.adaptive_avg_pool2d(x, 3).relu(),
    "mean": lambda x: x.mean((2, 3)).tanh(),
    "gate": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "square": lambda x: (x + 1) * (x - 2),
    "matrix product": lambda x: x.relu() @ (x + 1).transpose(-2, -1) / 8,
    "softmax": lambda x: (3 * x + torch.arange(8.0)).softmax(-1),
    "softmax far out": lambda x: (40 * x).softmax(-1),
    "layer norm": lambda x: F.layer_norm(x, (8, 8)),
    "layer norm of an uneven baseline": lambda x: F.layer_norm(x + torch.arange(8.0) / 4, (8,)),
    "attention": lambda x: F.scaled_dot_product_attention(x, x + torch.arange(8.0), 2 * x),
    "concatenation": lambda x: torch.cat([x.relu(), x[:, 1:3].sigmoid()], 1).unbind(1)[2],
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("target", range(3))
def test_the_contributions_add_up_through_every_kind_of_operation(function, target):
    parts, change = contributions(toy(Flat(function)), target)
    assert float(parts.double().sum()) == pytest.approx(change, rel=1e-4, abs=1e-5)
    assert torch.isfinite(parts).all()
    assert parts.any()


@pytest.mark.parametrize("sequence", ["tokens first", "pictures first"])
def test_the_contributions_add_up_through_attention_of_many_heads(sequence):
    parts, change = contributions(toy(Attending(sequence == "pictures first")), 1)
    assert float(parts.double().sum()) == pytest.approx(change, rel=1e-4)


def test_products_are_shared_evenly():
    probe = toy(Flat(lambda x: x[:, :2] * x[:, 2:]))
    parts, _ = contributions(probe, 0)
    assert parts[0, :2].numpy() == pytest.approx(parts[0, 2:].numpy(), abs=1e-6)


def test_where_nothing_changes_the_multiplier_is_the_slope():
    probe = toy(Flat(F.silu))
    raw = torch.cat([probe.raw] * 2)
    _, multipliers = propagate(probe.cut, raw, RESCALE, first_row, 1)
    leaf = probe.raw.requires_grad_()
    [slope] = torch.autograd.grad(probe.cut.head(leaf)[0, 1], leaf)
    assert multipliers[0].numpy() == pytest.approx(slope[0].numpy(), abs=1e-6)


@pytest.mark.parametrize(
    ("rules", "function", "operation"),
    [
        (RESCALE, torch.erf, "erf"),
        (EPSILON, lambda x: x.softmax(-1), "softmax"),
        (EPSILON, lambda x: x * x.relu(), "mul of two signals"),
        (RESCALE, lambda x: 1 / (x.square() + 1), "square"),
        (RESCALE, lambda x: x / x.sigmoid(), "div by a part of the network"),
        (RESCALE, lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), "with a mask"),
    ],
)
def test_an_operation_without_a_rule_is_refused_by_name_and_place(rules, function, operation):
    probe = toy(Flat(function))
    with pytest.raises(UnruledError, match=operation) as refusal:
        propagate(probe.cut, torch.cat([probe.raw] * 2), rules, torch.ones_like)
    assert f"{probe.cut.layer.name} of toy. Choose" in str(refusal.value)
    method = find("lift-cam" if rules is RESCALE else "lrp-cam")()
    assert operation in method.undefined(probe.cut)
    assert f"not at {probe.cut.layer.name} of toy" in method.undefined(probe.cut)


def test_threads_do_not_mix_their_rules():
    probe = toy(Flat(lambda x: F.max_pool2d(F.conv2d(x, torch.ones(4, 1, 3, 3), groups=4).relu(), 2)))
    seeds = torch.tensor([[1.0, 0.0, 0.0]])

    def arrived(rules):
        return propagate(probe.cut, probe.raw, rules, lambda logits: seeds)[1]

    kinds = [EPSILON, Z_PLUS] * 20
    expected = {id(rules): arrived(rules) for rules in kinds}
    assert not torch.equal(*expected.values())
    with ThreadPoolExecutor(4) as threads:
        for rules, found in zip(kinds, threads.map(arrived, kinds), strict=True):
            assert torch.equal(found, expected[id(rules)])


def test_a_silent_layer_is_blank_with_a_reason():
    probe = toy(Flat(F.relu), torch.zeros(3, 8, 8))
    for name in ("lift-cam", "lrp-cam"):
        found = find(name)()(probe, 0)
        assert "silent" in found.blank
        assert not found.saliency.any()


CNNS = ["squeezenet1_1", "efficientnet_lite0", "resnet50", "vgg16"]


@pytest.mark.parametrize("scene", CNNS, indirect=True)
@pytest.mark.parametrize("depth", [0.2, 0.4, 0.6, 0.8])
def test_relevance_is_conserved_on_the_way_to_any_layer(scene, depth):
    layers = scene.cut.backbone.layers
    probe = scene.probe().at(layers[int(depth * len(layers))].name)
    assert find("relevance-cam")().undefined(probe.cut) is None
    target = scene.ranking[0]
    logits, relevance = propagate(
        probe.cut, probe.raw, Z_PLUS, lambda logits: (torch.arange(1000) == target).float()[None]
    )
    assert logits[0].numpy() == pytest.approx(probe.logits.numpy(), abs=1e-3)
    total = float(relevance.double().sum())
    if scene.cut.backbone.name == "efficientnet_lite0":
        # Where a depthwise kernel has no positive product among its few, nobody is paid.
        assert 0.05 < total < 1
    else:
        assert total == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("scene", CNNS, indirect=True)
def test_relevance_cam_reaches_early_layers(scene):
    probe = scene.probe().at(scene.cut.backbone.layers[3].name)
    for official in (False, True):
        found = RelevanceCAM(official=official)(probe, scene.ranking[0])
        assert found.blank is None
        assert torch.isfinite(found.signed).all()
        assert found.signed.shape == probe.activation.shape[1:]


def paid(x, weight, bias, relevance):
    """z+ of a convolution (8 x 8 maps, 3 x 3 kernels, zeros around), product by product."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    result = np.zeros_like(padded)
    for out, row, column in np.ndindex(relevance.shape):
        patch = padded[:, row : row + 3, column : column + 3]
        products = (patch * weight[out]).clip(min=0)
        total = products.sum() + 2 * bias[out]
        result[:, row : row + 3, column : column + 3] += products / total * relevance[out, row, column]
    return result[:, 1:-1, 1:-1]


@pytest.mark.parametrize("rules", [Z_PLUS, Z_PLUS_BIASED], ids=["plain", "as released"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_convolution_shares_what_it_got_in_proportion_to_positive_products(rules, sign):
    convolution = nn.Conv2d(4, 5, 3, padding=1)
    probe = toy(Flat(convolution))
    bias = convolution.bias if rules is Z_PLUS_BIASED else torch.zeros(5)
    seeds = torch.tensor([[1.0, -0.5, 0.25]]) * sign
    found = propagate(probe.cut, probe.raw, rules, lambda logits: seeds)[1][0].double().numpy()
    middle = convolution(probe.raw).detach()
    linear = next(module for module in probe.cut.head.modules() if isinstance(module, nn.Linear))
    weight = linear.weight.double().numpy()
    flat = middle.double().numpy().ravel()
    products = (weight * flat).clip(min=0)
    got = (products / products.sum(1, keepdims=True) * seeds.double().numpy().T).sum(0).reshape(5, 8, 8)
    expected = paid(
        *(part.detach().double().numpy() for part in (probe.raw[0], convolution.weight, bias)), got
    )
    assert found == pytest.approx(expected, abs=1e-4 * abs(expected).max())


def test_a_gate_gets_no_relevance():
    probe = toy(Flat(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid()))
    ungated = toy(Flat(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid().detach()))
    seeds = torch.tensor([[1.0, 0.0, 0.0]])
    found, expected = (
        propagate(each.cut, each.raw, Z_PLUS, lambda logits: seeds)[1] for each in (probe, ungated)
    )
    assert torch.equal(found, expected)
    assert found.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("scene", ["vgg16"], indirect=True)
def test_the_bias_of_a_convolution_takes_relevance_only_in_the_released_code(scene):
    probe = scene.probe().at(scene.cut.backbone.layers[10].name)
    kept = [
        float(propagate(probe.cut, probe.raw, rules, torch.ones_like)[1].double().sum())
        for rules in (Z_PLUS, Z_PLUS_BIASED)
    ]
    assert kept[0] == pytest.approx(1000, rel=1e-3)
    assert abs(kept[1] - 1000) > 10


def test_agf_on_blocks_of_two_convolutions():
    torch.manual_seed(0)
    model = torchvision.models.resnet18().eval()
    image = torch.randn(3, 64, 64, dtype=torch.float64)
    network = papers.network.Network(model, "layer4")
    backbone = Backbone(
        "resnet18", model, Preprocessing(64, (64, 64), "bilinear", (0,) * 3, (1,) * 3), ("?",) * 1000
    )
    cut = backbone.cut()
    for part in (backbone.graph, cut.trunk, cut.head):
        part.double()
    found = find("agf")()(Probe(cut, image), 7).saliency.numpy()
    assert found == pytest.approx(papers.agf.agf(network, image.numpy(), 7).saliency, abs=1e-6)


class ByKeyword(nn.Module):
    """A network that gives its options by name and works in place."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.first.weight, bias=self.first.bias, stride=2), inplace=True)
        x = F.relu(F.conv2d(x, self.second.weight, stride=1, padding=1), inplace=True)
        return F.linear(x.mean((2, 3)), self.last.weight, bias=self.last.bias)


class ByModule(ByKeyword):
    def forward(self, x):
        x = F.conv2d(x, self.first.weight, self.first.bias, 2).relu()
        return self.last(F.conv2d(x, self.second.weight, None, 1, 1).relu().mean((2, 3)))


def test_agf_of_options_by_name_and_of_work_in_place():
    torch.manual_seed(0)
    whole = ByKeyword()
    plain_words = ByModule()
    plain_words.load_state_dict(whole.state_dict())
    image = torch.rand(3, 12, 12)
    seen = Preprocessing(12, (12, 12), "bilinear", (0.0,) * 3, (1.0,) * 3)
    opaque = Backbone("opaque", nn.Sequential(Opaque(nn.Conv2d(3, 3, 1)), Opaque(whole)), seen, ("a", "b"))
    split = Backbone(
        "split", nn.Sequential(opaque.graph.get_submodule("0").part, plain_words), seen, ("a", "b")
    )
    first, second = (find("agf")()(Probe(each.cut(), image), 0).saliency for each in (opaque, split))
    assert first.any()
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("classes", "bias", "words"), [(2, 1e4, "saturated"), (1, 0, "saturated"), (2, None, "silent")]
)
def test_agf_says_why_nothing_goes_backward(classes, bias, words):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )
    with torch.no_grad():
        if bias is None:
            model[0].bias.fill_(-100)
        else:
            model[-1].bias[0] = bias
    backbone = Backbone("toy", model, TINY, ("a", "b")[:classes])
    found = find("agf")()(Probe(backbone.cut(), torch.rand(3, 8, 8)), 0)
    assert words in found.blank
    assert not found.saliency.any()


def test_agf_leaves_no_tensors_to_the_garbage_collector():
    """What waits for it holds the activations of the whole network."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    probe = Probe(Backbone("toy", model, TINY, ("a", "b")).cut(), torch.rand(3, 8, 8))
    find("agf")()(probe, 0)
    gc.collect()
    gc.disable()
    try:
        before = tensors()
        find("agf")()(probe, 0)
        assert tensors() == before
    finally:
        gc.enable()


def tensors():
    return sum(isinstance(found, torch.Tensor) for found in gc.get_objects())
