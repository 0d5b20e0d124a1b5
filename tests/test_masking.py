"""The masking and Shapley methods against identities, rivals and enumeration, and the head of one class."""

import itertools
import math

import captum.attr
import numpy as np
import pytest
import sklearn.linear_model
import torch
import torchcam.methods
from captum._utils.models.linear_model import SkLearnLasso
from papers.masking import logits_with_channels
from scenes import LAYERS, make
from torch import nn

from explorer.backbones import Backbone, Opaque, Preprocessing
from explorer.images import sample
from explorer.methods import Blank, find
from explorer.methods.masking import strongest
from explorer.methods.shapley import lasso, sampled_values
from explorer.probe import Probe, normalise

LINEAR_HEADS = ["efficientnet_lite0", "resnet50"]


@pytest.fixture(scope="module", params=LAYERS)
def scene(request, original):
    return make(request.param, original)


class TwoLayers(nn.Module):
    """Pooling, then two linear layers: what a channel adds depends on the others."""

    def __init__(self, channels, classes):
        super().__init__()
        self.pool, self.flat = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.hidden, self.out = nn.Linear(channels, 8), nn.Linear(8, classes)

    def forward(self, x):
        return self.out(self.hidden(self.flat(self.pool(x))).relu())


def toy(head, channels=5, classes=3):
    """A backbone of one convolution and a head, on pictures of 16 x 16, and a probe of noise."""
    trunk = nn.Sequential(nn.Conv2d(3, channels, 4, stride=4), nn.ReLU())
    preprocessing = Preprocessing(16, (16, 16), "bilinear", (0.0,) * 3, (1.0,) * 3)
    model = nn.Sequential(Opaque(trunk), head)
    backbone = Backbone("toy", model, preprocessing, tuple(map(str, range(classes))))
    image = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(1))
    return Probe(backbone.cut("0"), image)


@pytest.fixture
def nonlinear():
    torch.manual_seed(2)
    head = TwoLayers(5, 3)
    for layer in (head.hidden, head.out):
        nn.init.normal_(layer.weight, std=2)
    return toy(head)


HEADS = {
    "convolution": lambda: nn.Sequential(
        nn.Dropout(), nn.Conv2d(5, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "wide convolution": lambda: nn.Sequential(
        nn.Conv2d(5, 3, 3, padding=1, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "two convolutions": lambda: nn.Sequential(
        nn.Conv2d(5, 6, 1), nn.ReLU(), nn.Conv2d(6, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "linear": lambda: TwoLayers(5, 3),
    "classes compared": lambda: nn.Sequential(
        nn.Conv2d(5, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(3)
    ),
    "grouped convolution": lambda: nn.Sequential(
        nn.Conv2d(5, 6, 1), nn.ReLU(), nn.Conv2d(6, 3, 1, groups=3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
}
NARROWED = {"convolution": True, "wide convolution": True, "two convolutions": False, "linear": False}


@pytest.mark.parametrize("kind", HEADS)
def test_one_class_of_the_head_is_that_of_the_whole(kind):
    torch.manual_seed(0)
    probe = toy(HEADS[kind]())
    last = probe.cut.last_layer
    assert (last is not None) == (kind in NARROWED)
    if last is not None:
        assert last.direct == NARROWED[kind]
    activations = torch.rand(7, *probe.activation.shape)
    whole = probe.head(lambda chosen: activations[chosen], 7)
    for target in range(3):
        one = probe.head(lambda chosen: activations[chosen], 7, target)
        assert one.numpy() == pytest.approx(whole[:, target].numpy(), abs=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_drops_are_those_of_a_head_without_the_channel(kind):
    torch.manual_seed(0)
    probe = toy(HEADS[kind]())
    without = probe.activation * (1 - torch.eye(5))[:, :, None, None]
    expected = probe.logits - probe.cut.head(without)
    for target in range(3):
        assert probe.drops(target).numpy() == pytest.approx(expected[:, target].numpy(), abs=1e-5)


def test_drops_are_those_of_the_paper_in_every_network(scene):
    probe, target = scene.probe(), scene.ranking[0]
    activation = scene.network.activation(scene.image)
    some = np.random.default_rng(0).choice(len(activation), 16, replace=False)
    kept = np.ones((16, len(activation)))
    kept[range(16), some] = 0
    expected = (
        scene.network.logits(scene.pixels)[target]
        - logits_with_channels(scene.network, scene.pixels, kept)[:, target]
    )
    assert probe.drops(target)[some].numpy() == pytest.approx(expected, abs=2e-5)
    assert probe.passes == 1


@pytest.mark.parametrize("scene", LINEAR_HEADS, indirect=True)
def test_ablation_and_shapley_have_one_closed_form_on_a_linear_head(scene):
    probe = scene.probe()
    target = int(probe.logits.argmax())
    activation = scene.network.activation(scene.image)
    [layer] = [module for module in scene.model.modules() if isinstance(module, nn.Linear)]
    closed = layer.weight[target].double().detach().numpy() * activation.mean((1, 2))
    assert probe.drops(target).numpy() == pytest.approx(closed, abs=1e-5)
    shared = find("shapley-cam")()(probe, target)
    assert shared.values.numpy() == pytest.approx(closed, abs=1e-5)
    assert not shared.errors.any()
    ablation = find("ablation-cam")()
    found = ablation(probe, target)
    assert (found.signed * probe.logits[target].abs()).numpy() == pytest.approx(
        shared.signed.numpy(), abs=1e-4
    )
    assert found.saliency.numpy() == pytest.approx(shared.saliency.numpy(), abs=1e-5)
    assert ablation.coincides(scene.cut)
    players = torch.arange(0, len(closed), len(closed) // 40)
    values, errors = sampled_values(probe, target, players, 2, 0)
    assert (abs(values.numpy() - closed[players]) <= 4 * errors.numpy() + 2e-5).all()


def value_of(probe, target, present):
    mask = torch.zeros(len(probe.activation))
    mask[list(present)] = 1
    return float(probe.cut.head(probe.activation[None] * mask[:, None, None])[0, target])


def exact_values(probe, target):
    """The definition: the mean over all orderings of what a channel adds to those before it."""
    count = len(probe.activation)
    values = np.zeros(count)
    for ordering in itertools.permutations(range(count)):
        for moment, k in enumerate(ordering):
            before = ordering[:moment]
            values[k] += value_of(probe, target, (*before, k)) - value_of(probe, target, before)
    return values / math.factorial(count)


def test_sampled_shapley_values_meet_the_exact_ones_within_their_errors(nonlinear):
    exact = exact_values(nonlinear, 0)
    assert nonlinear.cut.pooled_linear is False
    deviations = []
    for seed in range(20):
        found = find("shapley-cam")(pairs=40, seed=seed)(nonlinear, 0)
        deviations.append((found.values.numpy() - exact) / found.errors.numpy())
        total = value_of(nonlinear, 0, range(5)) - value_of(nonlinear, 0, ())
        assert float(found.values.sum()) == pytest.approx(total, abs=1e-4)
    assert 0.6 < np.std(deviations) < 1.5  # the errors say how far the values are off
    assert abs(np.mean(deviations, 0)).max() < 1


def test_opposite_orderings_make_the_error_smaller_than_independent_ones(nonlinear):
    pairs = find("shapley-cam")(pairs=200)(nonlinear, 0).errors
    exact = exact_values(nonlinear, 0)
    spread = np.zeros(5)
    for ordering in itertools.permutations(range(5)):
        for moment, k in enumerate(ordering):
            before = ordering[:moment]
            added = value_of(nonlinear, 0, (*before, k)) - value_of(nonlinear, 0, before)
            spread[k] += (added - exact[k]) ** 2 / 120
    assert float(pairs.sum()) < (np.sqrt(spread / 400)).sum()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("samples", "channels"), [(30, 80), (80, 80), (200, 50)])
def test_the_lasso_is_that_of_scikit_learn(samples, channels, seed):
    generator = np.random.default_rng(seed)
    inputs = (generator.random((samples, channels)) < 0.5).astype(float)
    outputs = inputs @ generator.normal(size=channels) + generator.normal(size=samples)
    importance = generator.random(samples) + 0.5
    model = sklearn.linear_model.Lasso(alpha=0.05, tol=1e-13, max_iter=200_000)
    model.fit(inputs, outputs, sample_weight=importance)
    found = lasso(torch.tensor(inputs), torch.tensor(outputs), torch.tensor(importance), 0.05)
    assert found.numpy() == pytest.approx(model.coef_, abs=1e-6)


def test_lime_cam_is_captums_on_the_same_samples(nonlinear):
    """captum's Lime is given the bits that the explorer draws, and a lasso that converges."""
    activation = nonlinear.activation
    count = 60
    bits = torch.rand(count, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    drawn = iter(bits)
    rival = captum.attr.Lime(
        nonlinear.cut.head,
        interpretable_model=SkLearnLasso(alpha=0.01, tol=1e-12),
        perturb_func=lambda original, **kwargs: next(drawn)[None].long(),
    )
    mask = torch.arange(5)[None, :, None, None].expand(1, -1, 4, 4)
    expected = rival.attribute(
        activation[None], target=0, feature_mask=mask, n_samples=count, return_input_shape=False
    )[0]
    found = find("lime-cam")(samples=count)(nonlinear, 0).signed
    assert found.numpy() == pytest.approx(torch.einsum("k,khw->hw", expected, activation).numpy(), abs=2e-4)


def test_a_penalty_that_leaves_no_channel_is_told():
    torch.manual_seed(2)
    head = TwoLayers(5, 3)
    nn.init.normal_(head.out.weight, std=1e-3)
    found = find("lime-cam")()(toy(head), 0)
    assert found.blank is Blank.PENALISED
    assert found.notes == ("The penalty leaves 0 of 5 channels.",)


class Enlarged:
    """Of a rival that normalises its masks before they are enlarged: normalises them afterwards too."""

    def _upsample(self, activation):
        return normalise(super()._upsample(activation))


class SSCAM(Enlarged, torchcam.methods.SSCAM):
    pass


class ISCAM(Enlarged, torchcam.methods.ISCAM):
    pass


@pytest.fixture(scope="module")
def small(original):
    """SqueezeNet on a picture of 96 x 96, whose map is 5 x 5: as explorer, model, picture and its class."""
    model = original("squeezenet1_1")
    preprocessing = Preprocessing(96, (96, 96), "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    cut = Backbone("squeezenet1_1", original("squeezenet1_1"), preprocessing, ("?",) * 1000).cut()
    image = preprocessing.tensor(sample("chelsea"))
    return cut, model, image, int(Probe(cut, image).logits.argmax())


def by_torchcam(kind, model, image, target, **options):
    with kind(model, LAYERS["squeezenet1_1"], **options) as rival, torch.no_grad():
        [found] = rival(target, model(image[None]))
    return found[0].numpy()


def test_score_cam_is_that_of_torchcam(small):
    cut, model, image, target = small
    found = find("score-cam")(variant="channel-softmax")(Probe(cut, image), target)
    expected = by_torchcam(torchcam.methods.ScoreCAM, model, image, target)
    assert normalise(found.signed.relu()).numpy() == pytest.approx(expected, abs=1e-4)


def test_is_cam_is_that_of_torchcam(small):
    cut, model, image, target = small
    found = find("is-cam")(steps=3)(Probe(cut, image), target)
    expected = by_torchcam(ISCAM, model, image, target, num_samples=3)
    assert normalise(found.signed.relu()).numpy() == pytest.approx(expected, abs=1e-4)


def test_ss_cam_is_that_of_torchcam_under_the_same_noise(small, monkeypatch):
    """The rival's noise is that of the explorer's masks, which draws none for a constant channel."""
    cut, model, image, target = small
    probe = Probe(cut, image)
    live = (probe.activation.flatten(1).amax(1) > probe.activation.flatten(1).amin(1)).nonzero()[:, 0]
    rounds = torch.Generator().manual_seed(0)

    class SameNoise:
        def __init__(self, mean, deviation):
            self.deviation = deviation

        def sample(self, size):
            noise = torch.zeros(size)
            seeds = torch.randint(2**31, (len(live),), generator=rounds).tolist()
            for k, seed in zip(live.tolist(), seeds, strict=True):
                own = torch.Generator().manual_seed(seed)
                noise[0, k] = torch.randn(size[2:], generator=own) * self.deviation
            return noise

    monkeypatch.setattr(torch.distributions.normal, "Normal", SameNoise)
    expected = by_torchcam(SSCAM, model, image, target, num_samples=2, std=0.7)
    found = find("ss-cam")(samples=2, deviation=0.7)(probe, target)
    assert normalise(found.signed.relu()).numpy() == pytest.approx(expected, abs=1e-4)


def test_ablation_cam_is_that_of_pytorch_grad_cam(small):
    from pytorch_grad_cam import AblationCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cut, model, image, target = small
    rival = AblationCAM(model, [model.get_submodule(LAYERS["squeezenet1_1"])])
    expected = rival(image[None], [ClassifierOutputTarget(target)])[0]
    found = find("ablation-cam")(official=True)(Probe(cut, image), target)
    assert found.saliency.numpy() == pytest.approx(expected, abs=1e-4)


def test_noise_does_not_depend_on_the_chunks(small):
    cut, _, image, target = small
    method = find("ss-cam")(channels=7, samples=1)
    first, second = (method(Probe(cut, image, batch=batch), target) for batch in (7, 2))
    assert first.signed.numpy() == pytest.approx(second.signed.numpy(), rel=1e-3)
    other = find("ss-cam")(channels=7, samples=1, seed=1)(Probe(cut, image), target)
    assert other.signed.numpy() != pytest.approx(first.signed.numpy(), rel=1e-3)


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        (find("score-cam")(channels=9), 9),
        (find("ss-cam")(channels=5, samples=3), 15),
        (find("is-cam")(channels=5, steps=4), 20),
        (find("score-cam")(channels=9, variant="official"), 9),
        (find("ablation-cam")(), 0),
        (find("lime-cam")(), 0),
        (find("shapley-cam")(pairs=2, channels=20), 0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_passes_are_those_foretold(small, method, asked):
    cut, _, image, target = small
    probe = Probe(cut, image)
    method(probe, target)
    assert probe.passes == method.passes(cut.layer) == 1 + asked


def test_a_budget_takes_the_strongest_and_says_what_it_left():
    energy, live = torch.tensor([1.0, 0.0, 5.0, 3.0, 1.0]), torch.tensor([True, False, True, True, True])
    assert strongest(energy, live, 0)[0].tolist() == [0, 2, 3, 4]
    assert strongest(energy, live, 4)[1] == strongest(energy, live, 9)[1] == ()
    kept, [note] = strongest(energy, live, 2)
    assert kept.tolist() == [2, 3]
    assert note == "2 of 4 channels were left out; they hold 20.0% of the energy."


@pytest.fixture
def linear():
    torch.manual_seed(3)
    return toy(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)))


class Scaled(nn.Module):
    """A constant for each channel: a dead channel for 0."""

    def __init__(self, factors, offsets):
        super().__init__()
        self.factors, self.offsets = torch.tensor(factors), torch.tensor(offsets)

    def forward(self, x):
        return x * self.factors[:, None, None] + self.offsets[:, None, None]


def with_channels(factors, offsets):
    torch.manual_seed(3)
    trunk = nn.Sequential(nn.Conv2d(3, 5, 4, stride=4), nn.ReLU(), Scaled(factors, offsets))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    preprocessing = Preprocessing(16, (16, 16), "bilinear", (0.0,) * 3, (1.0,) * 3)
    cut = Backbone("toy", nn.Sequential(Opaque(trunk), head), preprocessing, tuple("abc")).cut("0")
    return Probe(cut, torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("name", ["score-cam", "ss-cam", "is-cam"])
def test_a_constant_channel_costs_no_pass_and_no_map_without_a_reason(name):
    method = find(name)()
    rounds = (method.passes(with_channels([1.0] * 5, [0.0] * 5).cut.layer) - 1) // 5
    some = with_channels([1.0, 0.0, 1.0, 0.0, 1.0], [0.0, 2.0, 0.0, 0.0, 0.0])
    found = method(some, 0)
    assert some.passes == 1 + 3 * rounds
    assert torch.isfinite(found.saliency).all()
    flat = with_channels([0.0] * 5, [1.0] * 5)
    assert "same value everywhere" in method(flat, 0).blank
    dead = with_channels([0.0] * 5, [0.0] * 5)
    assert "silent" in method(dead, 0).blank
    assert flat.passes == dead.passes == 1


@pytest.mark.parametrize("name", ["ablation-cam", "shapley-cam", "lime-cam"])
def test_a_silent_layer_is_blank_with_a_reason(name):
    found = find(name)()(with_channels([0.0] * 5, [0.0] * 5), 0)
    assert "silent" in found.blank
    assert not found.saliency.any()


@pytest.mark.parametrize("name", ["score-cam", "ablation-cam", "shapley-cam", "lime-cam"])
def test_numbers_that_overflow_are_told(name):
    found = find(name)()(with_channels([1.0] * 5, [float("nan"), 0.0, 0.0, 0.0, 0.0]), 0)
    assert "overflow" in found.blank


def test_as_printed_ablation_turns_every_sign_where_the_logit_is_negative(linear):
    signs = set()
    for target in range(3):
        mended, printed = (find("ablation-cam")(official=one)(linear, target).signed for one in (False, True))
        sign = float(linear.logits[target].sign())
        assert torch.equal(printed, sign * mended)
        signs.add(sign)
    assert signs == {-1.0, 1.0}


def test_softmax_weights_do_not_depend_on_the_baseline(nonlinear):
    """C_k = f(x M_k) - f(b) for any b: the same map, so the baseline is not computed."""
    probe = Probe(nonlinear.cut, nonlinear.image)
    masks = normalise(nn.functional.interpolate(probe.activation[None], (16, 16), mode="bilinear")[0])
    logits = probe.cut.backbone(probe.image * masks[:, None])[:, 1]
    expected = torch.einsum("k,khw->hw", (logits - 7.5).softmax(0), probe.activation)
    found = find("score-cam")()(nonlinear, 1)
    assert found.signed.numpy() == pytest.approx(expected.numpy(), rel=1e-4)
