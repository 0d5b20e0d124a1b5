"""The metrics against their formulas in float64, rival libraries, and maps whose answer is known."""

import copy
import functools
import math
import os
from contextlib import nullcontext
from dataclasses import fields, replace
from itertools import product

import numpy as np
import papers
import pytest
import torch
from papers.libra import calibration, cut
from papers.metrics import Shown, blurred, forgotten, ranked, rise_kernel
from papers.network import Network
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from scenes import SMALL, Scene, classifier, make
from torch import nn
from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric
from torchmetrics.functional.regression import pearson_corrcoef, spearman_corrcoef

from explorer.backbones import Backbone, Preprocessing, randomised, same_layer
from explorer.calibration import NoScoreError, cut_map, recommend
from explorer.images import sample
from explorer.methods import find as find_method
from explorer.metrics import METRICS, Canvas, Examined, Objects, UnknownMetricError, find, gather, road
from explorer.metrics.adcc import adcc, coherency
from explorer.metrics.agreement import on_one_grid
from explorer.metrics.perturbation import Deleted, Inserted, Kept, Perturbation, Removed
from explorer.metrics.road import Imputed, impute
from explorer.metrics.sanity import cascade, rank_correlation
from explorer.probe import Probe

MAPS = ("grad-cam", "random", "four levels", "fake-cam", "blank", "constant")
REAL = {"resnet50": slice(2), "squeezenet1_1": slice(1), "efficientnet_lite0": slice(1, 2)}
REAL_MAPS = ("grad-cam", "four levels", "constant")
SMALL_ONLY = ("road", "randomisation")  # and localisation: their transcriptions are slow, or ask no network
CUT = 30


def tiny_model():
    torch.manual_seed(0)
    features = [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.ReLU(),
    ]
    model = nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))
    with torch.no_grad():
        model[7].weight *= 8
    return model.eval()


def tiny_scene():
    """A random network of pictures of 16 x 16 pixels."""
    model = tiny_model()
    seen = replace(SMALL, resize=16, crop=(16, 16))
    backbone = Backbone("tiny", copy.deepcopy(model), seen, tuple("abcde"))
    return Scene(model, Network(model, "4"), backbone.cut(), sized(16, "chelsea"), np.zeros(0))


def sized(side, name):
    return replace(SMALL, resize=side, crop=(side, side)).tensor(sample(name))


@pytest.fixture(scope="module")
def scenes(original):
    """Each by its name, made once."""
    return functools.cache(lambda name: tiny_scene() if name == "tiny" else make(name, original))


@pytest.fixture
def scene(request, scenes):
    return scenes(request.param)


def fixed(name, size):
    """Maps that look at no network."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(size, generator=generator)
    fake = torch.ones(size)
    fake[0, 0] = 0
    return {
        "random": drawn,
        "four levels": (4 * drawn).floor() / 3,
        "fake-cam": fake,
        "blank": torch.zeros(size),
        "constant": torch.ones(size),
    }[name]


@functools.cache
def examined(scene, name, target, percent, official=False):
    """A map under examination, by the explorer and by the transcriptions."""
    seen = scene.cut.backbone.preprocessing
    size = seen.crop

    def explain(probe):
        return find_method("grad-cam")()(probe, target).saliency if name == "grad-cam" else fixed(name, size)

    def plain(image, network=scene.network):
        if name == "grad-cam":
            return papers.METHODS["grad-cam"](network, image, target).saliency
        return fixed(name, size).double().numpy()

    def again(image, network=scene.network):
        found = plain(image, network)
        if not percent:
            return found
        _, best = calibration(network, image, found, target, range(10), official)
        return cut(found, found.size * best // 100)

    probe = canvas(scene).probe
    height, width = size
    region = torch.zeros(size, dtype=torch.bool)
    region[height // 4 : height // 2, width // 3 :] = True
    boxes = ((width // 3, height // 4, width, height // 2), (0, 0, width // 2, height // 2))
    ours = Examined(canvas(scene), target, explain(probe), explain, Objects(region, boxes), official=official)
    uncut = ours.saliency.double().numpy()
    saliency = cut(uncut, uncut.size * percent // 100)
    if percent:
        ours = ours.calibrated(percent)

    def forgetful(seed):
        """Of the tiny network, after its fifth, third and first layer."""
        for names in (["7.weight"], ["3.weight", "7.weight"], ["3.weight", "7.weight"]):
            yield again(scene.pixels, Network(forgotten(scene.model, names, seed), "4"))

    return ours, Shown(
        scene.pixels,
        saliency,
        target,
        again,
        seen.mean,
        seen.std,
        region.numpy(),
        boxes,
        forgetful,
    )


@functools.cache
def canvas(scene):
    return Canvas(scene.probe())


def variants(metric):
    """For two classes, and for one with each of its choices."""
    yield from [(metric(), 0), (metric(), 1)]
    for item in fields(metric):
        others = (1,) if item.name == "seed" else item.metadata["choices"][1:]
        yield from [(metric(**{item.name: value}), 0) for value in others]


def rows():
    """Every registered metric, on a small picture with each of its choices; a network after the other."""
    for network, chosen in [("tiny", slice(None)), *REAL.items()]:
        for metric in METRICS.values():
            small = metric.name in SMALL_ONLY or metric.kind == "localisation"
            for variant, rank in list(variants(metric))[
                chosen if network == "tiny" or not small else slice(0)
            ]:
                yield pytest.param(network, variant, rank, id=f"{network} {variant} {rank}")


def affordable(metric, pixels):
    """Few steps and squares."""
    values = {"step": 3 * pixels // 10, "squares": 8, "side": math.isqrt(pixels) // 4, "margin": 3}
    return replace(metric, **{item.name: values[item.name] for item in fields(metric) if item.name in values})


@pytest.mark.parametrize(("scene", "metric", "rank"), list(rows()), indirect=["scene"])
def test_the_value_is_that_of_the_formula(scene, metric, rank, record_property):
    metric = affordable(metric, scene.image[0].numel())
    options = {item.name: getattr(metric, item.name) for item in fields(metric)}
    differences = {}
    for name, percent in product(MAPS if scene.network.name == "4" else REAL_MAPS, (0, CUT)):
        ours, theirs = examined(scene, name, scene.ranking[rank], percent)
        expected = papers.METRICS[metric.name](scene.network, theirs, **options)
        differences[name, percent] = abs(metric(ours) - expected)
    record_property("worst difference", float(max(differences.values())))
    assert all(difference < 3e-5 for difference in differences.values()), differences


@pytest.mark.parametrize("scene", ["tiny"], indirect=True)
def test_a_map_is_calibrated_alike_on_the_masked_picture(scene):
    """By the released code of Libra-CAM, too, where that calibrates the map itself."""
    expected = {}
    for name, official in product(MAPS, (False, True)):
        ours, theirs = examined(scene, name, scene.ranking[0], CUT, official)
        expected[name, official] = papers.METRICS["coherency"](scene.network, theirs)
        assert find("coherency")()(ours) == pytest.approx(expected[name, official], abs=3e-5)
    assert abs(expected["random", True] - expected["random", False]) > 1e-3


def test_a_name_that_is_not_registered_is_refused_with_those_that_are():
    with pytest.raises(UnknownMetricError) as refusal:
        find("average-dorp")
    assert all(name in str(refusal.value) for name in ["average-dorp", *METRICS])


# Rival libraries


class Given:
    """What torch-cam asks of an extractor, of a map that is known."""

    _hooks_off = staticmethod(nullcontext)

    def __init__(self, scene, saliency):
        self.model, self._saliency = scene.model, saliency

    def __call__(self, target, scores):
        return [self._saliency[None]]

    def fuse_cams(self, cams):
        return cams[0]


def rival(metric, scene, saliency, target, **options):
    found = metric(Given(scene, saliency), functools.partial(torch.softmax, dim=-1), **options)
    found.update(scene.image[None], target)
    return found.summary()


@pytest.mark.parametrize("scene", ["efficientnet_lite0"], indirect=True)
@pytest.mark.parametrize("name", ["grad-cam", "random", "fake-cam"])
def test_drop_and_increase_are_those_of_torchcam(scene, name):
    """Whether the probability rises is not compared where it moves by no more than rounding does, as under Fake-CAM."""
    for target in scene.ranking[:3]:
        ours, _ = examined(scene, name, target, 0)
        theirs = rival(ClassificationMetric, scene, ours.saliency, target)
        assert find("average-drop")()(ours) == pytest.approx(theirs["avg_drop"], abs=1e-5)
        moved = find("average-drop")()(ours) + find("average-gain")()(ours)
        assert moved > 1e-4 or name == "fake-cam"
        if moved > 1e-4:
            assert find("average-increase")()(ours) == theirs["conf_increase"]


@pytest.mark.parametrize("scene", ["efficientnet_lite0"], indirect=True)
def test_insertion_and_deletion_are_those_of_torchcam(scene):
    """It fills with zeros and takes equal values in reading order, so the map has none."""
    target = scene.ranking[0]
    pixels = torch.randperm(224 * 224, generator=torch.Generator().manual_seed(0))
    saliency = pixels.view(224, 224) / pixels.numel()
    theirs = rival(DeletionInsertionMetric, scene, saliency, target, steps=7)
    ours = Examined(canvas(scene), target, saliency, lambda probe: saliency)
    step = 224 * 224 // 7
    assert find("insertion")(step=step, start="mean")(ours) == pytest.approx(
        theirs["insertion_auc"], abs=1e-5
    )
    assert find("deletion")(step=step)(ours) == pytest.approx(theirs["deletion_auc"], abs=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_pixels_are_imputed_as_by_pytorch_grad_cam(share):
    drawn = np.random.default_rng(0)
    image, gone = drawn.random((3, 30, 41), np.float32), drawn.random((30, 41)) < share
    gone[:12, :9] = True  # a hole at a corner
    known = torch.from_numpy(np.float32(~gone))
    expected = NoisyLinearImputer(noise=0)(torch.from_numpy(image), known).numpy()
    assert impute(image, gone) == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(impute(image, gone)[:, ~gone], image[:, ~gone])


def test_a_picture_of_which_nothing_is_left_is_imputed_by_its_mean():
    image = np.random.default_rng(0).random((3, 5, 7))
    found = impute(image, np.ones((5, 7), bool))
    assert found == pytest.approx(np.broadcast_to(image.mean((1, 2))[:, None, None], image.shape))
    assert np.array_equal(impute(image, np.zeros((5, 7), bool)), image)


@pytest.mark.parametrize("scene", ["tiny"], indirect=True)
def test_road_is_that_of_pytorch_grad_cam_but_for_the_noise(scene, monkeypatch):
    """In a frame whose tenths are whole pixels: it takes percentiles."""
    monkeypatch.setattr(road, "_NOISE", 0)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    image = sized(40, "coffee")
    saliency = torch.randperm(1600, generator=torch.Generator().manual_seed(0)).view(40, 40) / 1600
    ours = Examined(Canvas(Probe(scene.cut, image)), 2, saliency, lambda probe: saliency)
    combined = ROADCombined([10, 30, 50, 70, 90])
    [expected] = combined(
        image[None], saliency[None].numpy(), [ClassifierOutputSoftmaxTarget(2)], scene.model
    )
    assert abs(expected) > 1e-3
    assert find("road")()(ours) == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def quantus():
    """No requirement, for it asks for an OpenCV that needs a display; .ci/run installs it without that."""
    if os.environ.get("CI") == "true":
        import quantus

        return quantus
    return pytest.importorskip(
        "quantus",
        reason="quantus is not installed: pip install --no-deps quantus cachetools scikit-image lazy-loader",
    )


@pytest.mark.parametrize("scene", ["tiny"], indirect=True)
def test_the_curve_of_deletion_is_that_of_pixel_flipping(scene, quantus):
    """It flips numbers, not pixels: the three of a pixel are given values that follow each other."""
    image = sized(24, "chelsea")
    pixels = torch.randperm(576, generator=torch.Generator().manual_seed(0)).view(24, 24)
    numbers = 3 * pixels + torch.arange(3)[:, None, None]
    flipping = quantus.PixelFlipping(
        features_in_step=3 * 32, normalise=False, perturb_baseline=0.0, disable_warnings=True
    )
    given = (image[None].numpy(), np.array([1]), numbers[None].float().numpy())
    [expected] = flipping(scene.model, *given, softmax=True)
    ours = Examined(Canvas(Probe(scene.cut, image)), 1, pixels / 576, lambda probe: pixels / 576)
    found = ours.scores(find("deletion")(step=32).perturbations(576))
    assert found[1:].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scene", ["tiny"], indirect=True)
def test_a_map_that_is_not_finite_is_blank(scene):
    """A method of one's own may give one; no metric takes it for a good one."""
    canvas = Canvas(Probe(scene.cut, sized(24, "chelsea")))
    hostile, blank = (
        Examined(canvas, 1, saliency, lambda probe: torch.zeros(24, 24))
        for saliency in (torch.full((24, 24), torch.nan), torch.zeros(24, 24))
    )
    for metric in METRICS.values():
        if not metric.needs_objects and metric.kind != "sanity":
            assert metric()(hostile) == metric()(blank)


@pytest.mark.parametrize("metric", [one for one in METRICS.values() if one.kind == "masked probability"])
def test_no_figure_is_made_of_a_network_that_overflows(metric):
    """Its probability on the masked picture is no number."""

    class Shown:
        probability = 0.5

    count = len(metric().perturbations(576))
    assert math.isnan(metric().value(Shown(), torch.full((count,), torch.nan, dtype=torch.float64)))
    with pytest.raises(NoScoreError, match="not finite"):
        recommend((0, 10), torch.tensor([0.5, torch.nan]), 0.5)


def slope(part, size, across, down):
    """A map (H, W) of a part of a photograph, whose value at a place (x, y) of that is across * x + down * y."""
    left, top, right, bottom = part
    x = left + (right - left) * (np.arange(size[1]) + 0.5) / size[1]
    y = top + (bottom - top) * (np.arange(size[0]) + 0.5) / size[0]
    return torch.from_numpy((across * x + down * y[:, None]).astype(np.float32))


@pytest.mark.parametrize(
    ("parts", "sizes", "shared", "grid"),
    [
        (((0, 0.1, 0.8, 1), (0.2, 0, 1, 0.8)), ((90, 80), (160, 80)), (0.2, 0.1, 0.8, 0.8), (140, 60)),
        (((0.1, 0.1, 0.9, 0.9),) * 2, ((224, 224), (240, 240)), (0.1, 0.1, 0.9, 0.9), (240, 240)),
        (((-0.2, 0, 1.2, 1), (0, -0.1, 1, 1.1)), ((50, 70), (60, 50)), (0, 0, 1, 1), (50, 50)),
    ],
)
def test_maps_of_several_networks_are_taken_at_the_same_places(parts, sizes, shared, grid):
    maps = [slope(part, size, 0.3, 0.6) for part, size in zip(parts, sizes, strict=True)]
    found, part = on_one_grid(maps, parts)
    assert part == pytest.approx(shared)
    for one in found:
        inner = (slice(2, -2), slice(2, -2))  # beyond the outermost centres a map goes on as it ends
        np.testing.assert_allclose(one[inner], slope(shared, grid, 0.3, 0.6)[inner], atol=1e-5)


def test_maps_on_one_grid_stay_as_they_are():
    one, other = torch.rand(2, 7, 9)
    found, part = on_one_grid([one, other], [(0.1, 0, 0.9, 1)] * 2)
    assert part == (0.1, 0, 0.9, 1)
    assert found[0] is one
    assert found[1] is other


def test_correlations_are_those_of_torchmetrics():
    one = (6 * torch.rand(30, 41, generator=torch.Generator().manual_seed(0))).floor() / 6
    other = one**3 + torch.rand(30, 41, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    pearson = pearson_corrcoef(one.flatten(), other.flatten())
    assert coherency(one, other) == pytest.approx((float(pearson) + 1) / 2, abs=1e-6)
    spearman = float(spearman_corrcoef(one.flatten(), other.flatten()))
    assert rank_correlation(one, other) == pytest.approx(spearman, abs=1e-6)
    naive = np.corrcoef(ranked(one.numpy()), ranked(other.numpy()))[0, 1]
    assert naive == pytest.approx(spearman, abs=1e-6)


def test_the_picture_is_blurred_by_the_kernel_of_rise():
    """3.4: it sums to 1, is nearly flat, and stays within 0.0077 and 0.0088."""
    kernel = rise_kernel()
    assert (round(kernel.sum(), 12), round(kernel.min(), 4), round(kernel.max(), 4)) == (1, 0.0077, 0.0088)
    scene = tiny_scene()
    spot = torch.zeros(3, 21, 30)
    spot[:, 10, 12] = torch.tensor([1.0, 2.0, -3.0])
    found = Canvas(Probe(scene.cut, spot)).substrate("blur").numpy()
    assert found[0, 5:16, 7:18] == pytest.approx(kernel, abs=1e-7)
    assert found == pytest.approx(blurred(spot.double().numpy()), abs=1e-6)


# Maps whose answer is known


def quadrant(slope=8.0, bias=4.0):
    """Two classes of pictures of 20 x 20 pixels: the logit of the first, less that of the other, is ``slope`` times
    the mean of the lower right quadrant less ``bias``."""
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.Flatten(), nn.Linear(400, 2))
    with torch.no_grad():
        model[0].weight.fill_(1 / 3)
        model[2].weight.zero_()
        model[2].weight[0] = slope / 200 * inside().flatten()
        model[2].weight[1] = -model[2].weight[0]
        model[2].bias.copy_(torch.tensor([-bias / 2, bias / 2]))
    seen = Preprocessing(20, (20, 20), "bilinear", (0.0,) * 3, (1.0,) * 3)
    return Backbone("quadrant", model, seen, ("there", "not there")).cut("0")


def inside():
    region = torch.zeros(20, 20, dtype=torch.bool)
    region[10:, 10:] = True
    return region


def known_map(name):
    generator = torch.Generator().manual_seed(0)
    region = inside().float()
    fake = torch.ones(20, 20)
    fake[0, 0] = 0
    return {
        "perfect": region,
        "inverted": 1 - region,
        "random": torch.rand(20, 20, generator=generator),
        "constant": torch.full((20, 20), 0.3),
        "full": torch.ones(20, 20),
        "blank": torch.zeros(20, 20),
        "fake-cam": fake,
    }[name]


KNOWN_MAPS = ("perfect", "inverted", "random", "constant", "full", "blank", "fake-cam")
OBJECT = Objects(inside(), ((10.0, 10.0, 20.0, 20.0),))


def seen_by(cut, name, objects=OBJECT, target=0):
    """A map of a picture of ones where the quadrant is, of zeros elsewhere."""
    saliency = known_map(name)
    return Examined(
        Canvas(Probe(cut, inside().expand(3, -1, -1).float())), target, saliency, lambda _: saliency, objects
    )


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("name", KNOWN_MAPS)
def test_masked_probability_in_closed_form(name):
    shown = seen_by(quadrant(), name)
    share = float(shown.saliency[inside()].double().mean())
    p, o, d = sigmoid(4), sigmoid(8 * share - 4), sigmoid(8 * (1 - share) - 4)
    expected = {
        "average-drop": max(0, p - o) / p,
        "average-gain": 0,
        "average-probability-drop": max(0, p - o),
        "average-drop-in-deletion": (p - d) / p,
        "drop-rate": float(share < 1),
        "ties": float(share == 1),
    }
    assert {key: find(key)()(shown) for key in expected} == pytest.approx(expected, abs=1e-6)


def test_insertion_and_deletion_in_closed_form():
    """A quarter of the pixels decides: at its own pace for the first quarter of the perfect map, for the last of the
    inverted one."""
    rising = [sigmoid(8 * min(1, tenth / 2.5) - 4) for tenth in range(11)]
    areas = {"perfect": np.trapezoid(rising) / 10, "inverted": 1 - np.trapezoid(rising) / 10}
    for name, area in areas.items():
        shown = seen_by(quadrant(), name)
        assert find("insertion")(step=40, start="mean")(shown) == pytest.approx(area, abs=1e-6)
        assert find("deletion")(step=40)(shown) == pytest.approx(1 - area, abs=1e-6)


def test_the_perfect_map_is_better_than_a_random_one_and_that_than_the_inverted_one():
    shown = {name: seen_by(quadrant(), name) for name in ("perfect", "random", "inverted")}
    metrics = [find("insertion")(step=20, start=start) for start in ("mean", "blur")]
    metrics += [find("deletion")(step=20), find("road")()]
    for metric in metrics:
        perfect, chance, inverted = ((metric.better == "higher") * 2 - 1) * np.array(
            [metric(one) for one in shown.values()]
        )
        assert perfect > chance + 0.05 > inverted + 0.1
    losses = [find("infidelity")(side=5)(shown[name]) for name in ("perfect", "inverted")]
    assert losses[0] < losses[1] / 5


def test_a_map_foretells_a_removal_that_is_always_the_same():
    """Squares as large as the picture: one scale fits them all."""
    assert find("infidelity")(side=20, squares=5)(seen_by(quadrant(), "random")) == pytest.approx(
        0, abs=1e-15
    )
    assert find("infidelity")(side=20)(seen_by(quadrant(), "blank")) == pytest.approx(
        (sigmoid(4) - sigmoid(-4)) ** 2
    )


@pytest.mark.parametrize("scene", ["efficientnet_lite0"], indirect=True)
def test_fake_cam_has_neither_drop_nor_gain(scene):
    shown, _ = examined(scene, "fake-cam", scene.ranking[0], 0)
    assert 0 <= find("average-drop")()(shown) < 1e-3
    assert 0 <= find("average-gain")()(shown) < 1e-3


def test_the_harmonic_mean():
    assert adcc(1, 0, 0) == 1
    assert adcc(0, 0, 0) == adcc(1, 1, 0) == adcc(1, 0, 1) == 0
    assert adcc(0.5, 0.5, 0.5) == pytest.approx(0.5)
    assert adcc(1, 0.5, 0.75) == pytest.approx(3 / 7)
    assert find("adcc")()(seen_by(quadrant(), "perfect")) == pytest.approx(3 / (1 + 4 / 3 + 1))


@pytest.mark.parametrize("name", ["constant", "full", "blank"])
def test_constant_maps_are_not_coherent(name):
    shown = seen_by(quadrant(), name)
    assert find("coherency")()(shown) == find("adcc")()(shown) == find("randomisation")()(shown) == 0


def test_a_map_that_is_its_own_opposite_on_the_masked_picture_is_not_coherent():
    one = known_map("random")
    assert coherency(one, one) == 1
    assert coherency(one, 1 - one) == pytest.approx(0, abs=1e-12)
    assert coherency(one, torch.full_like(one, math.nan)) == 0
    assert rank_correlation(one, one**3) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)


def test_an_increase_is_strict_and_the_three_rates_are_one():
    increase, rates = (
        find("average-increase")(),
        [find(name)() for name in ("increase-rate", "drop-rate", "ties")],
    )
    values = (0.0, 1e-30, 4e-7, 2e-6, 0.5, 0.5 + 9e-7, 0.5 + 3e-6, 1 - 1e-16, 1.0)
    for p, o in product(values, values):
        assert increase.compared(p, o) == (o - p > 1e-6) == rates[0].compared(p, o)
        assert sum(metric.compared(p, o) for metric in rates) == 1


@pytest.mark.parametrize("name", KNOWN_MAPS)
@pytest.mark.parametrize(("bias", "p"), [(-1000.0, 1.0), (2000.0, 0.0)], ids=["saturated", "underflowing"])
def test_every_metric_of_an_extreme_probability_is_within_its_bounds(name, bias, p):
    shown = seen_by(quadrant(bias=bias), name)
    assert shown.probability == p
    for metric in METRICS.values():
        chosen = affordable(metric(), 400)
        value = chosen(shown)
        assert (metric.low is None or value >= metric.low) and (metric.high is None or value <= metric.high)
    assert find("average-drop")()(shown) == find("average-gain")()(shown) == 0
    assert find("average-drop-in-deletion")()(shown) == find("average-increase")()(shown) == 0


LOCALISATION = [name for name, metric in METRICS.items() if metric.needs_objects]


@pytest.mark.parametrize(
    ("name", "energy", "pointing", "box", "best"),
    [
        ("perfect", 1, 1, 1, 1),
        ("inverted", 0, 0, 0.25, 0),
        ("full", 0.25, 0, 0, 0.25),
        ("constant", 0.25, 0, 0, 0.25),
        ("blank", 0, 0, 0, 0),
        ("fake-cam", 100 / 399, 0, 0.25, 100 / 399),
    ],
)
def test_localisation_of_known_maps(name, energy, pointing, box, best):
    shown = seen_by(quadrant(), name)
    found = [
        find("energy-pointing-game")(),
        find("pointing-game")(margin=9),
        find("box-iou")(),
        find("best-iou")(),
    ]
    assert [metric(shown) for metric in found] == pytest.approx([energy, pointing, box, best], abs=1e-12)


def test_boxes_beside_each_other_share_no_pixel():
    """Their common side runs through the centres of pixels, which belong to the one that begins there."""
    whole = (0, 0, 1, 1)
    parts = [Objects.inside((left, 0, left + 0.5, 1), whole, (1, 4)).region for left in (0.125, 0.625)]
    assert [part.tolist() for part in parts] == [[[True, True, False, False]], [[False, False, True, True]]]


def test_the_margin_is_a_circle():
    saliency = torch.zeros(20, 20)
    saliency[6, 7] = 1  # 4 rows and 3 columns from the corner of the quadrant
    assert find("pointing-game")(margin=5).located(saliency, OBJECT) == 1
    assert find("pointing-game")(margin=4).located(saliency, OBJECT) == 0


def test_the_best_of_several_boxes_counts():
    boxes = ((0.0, 0.0, 3.0, 3.0), (10.0, 10.0, 20.0, 15.0))
    assert find("box-iou")().located(known_map("perfect"), Objects(inside(), boxes)) == 0.5


@pytest.mark.parametrize("name", LOCALISATION)
def test_without_an_object_nothing_is_localised(name):
    nowhere = Objects(torch.zeros(20, 20, dtype=torch.bool), ((0.0, 0.0, 5.0, 5.0),))
    for objects in (None, nowhere):
        assert math.isnan(find(name)()(seen_by(quadrant(), "perfect", objects)))
    assert math.isnan(find("box-iou")()(seen_by(quadrant(), "perfect", Objects(inside()))))
    assert LOCALISATION


# What is known is not computed again


@pytest.fixture
def strip():
    """A picture that is not square, and a function that examines maps of it."""
    drawn = torch.Generator().manual_seed(0)
    shared = Canvas(Probe(tiny_scene().cut, torch.randn(3, 6, 10, generator=drawn)))

    def examine(saliency, target=0):
        return Examined(shared, target, saliency, lambda probe: saliency)

    return examine


def with_ties(levels):
    return (levels * torch.rand(6, 10, generator=torch.Generator().manual_seed(levels))).floor() / levels


def test_pictures_are_scored_once(strip):
    shown = strip(with_ties(9))
    probe = shown.probe
    cheap = [find(name)() for name in ("average-drop", "average-gain", "ties", "adcc", "calibration-auc")]
    cheap.append(find("average-drop")(mask="top half"))
    before = probe.passes
    gather([(shown, metric.perturbations(60)) for metric in cheap])
    assert probe.passes - before == 10  # the levels of the curve: 0 is the soft mask, 50 its top half
    steps = [find("insertion")(step=20, start="mean"), find("deletion")(step=20), find("insertion")(step=10)]
    gather([(shown, metric.perturbations(60)) for metric in steps])
    assert probe.passes - before == 10 + 4 + 4 + 7
    for metric in [*cheap[:3], *cheap[4:], *steps]:
        metric(shown)
    shown.calibration()
    assert probe.passes - before == 10 + 4 + 4 + 7


def test_a_calibrated_map_shares_what_is_known_of_equal_pictures(strip):
    shown = strip(with_ties(9))
    curve = shown.calibration()
    deletion, before = find("deletion")(step=20), shown.probe.passes
    deletion(shown)
    calibrated = shown.calibrated(30)
    calibrated.calibration()
    find("average-gain")(mask="top half")(calibrated)
    find("average-gain")()(calibrated)
    assert shown.probe.passes - before == 4
    assert calibrated.scores([Kept()]).item() == pytest.approx(curve.probabilities[3])
    deletion(calibrated)
    assert shown.probe.passes - before == 5  # 60 pixels deleted: beyond the cut its order is another


PICTURES = {
    Kept: [Kept(level, fill) for level in range(0, 101, 9) for fill in ("mean", "black")],
    Removed: [Removed(level, fill) for level in range(0, 101, 9) for fill in ("mean", "black")],
    Deleted: [Deleted(count, fill) for count in range(61) for fill in ("mean", "black", "blur")],
    Inserted: [Inserted(count, fill) for count in range(61) for fill in ("mean", "black", "blur")],
    Imputed: [Imputed(count, most, seed=count % 2) for count in range(0, 61, 3) for most in (False, True)],
}


def kinds(of):
    return {of} - {Perturbation} if not of.__subclasses__() else set().union(*map(kinds, of.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(kinds(Perturbation), key=str))
@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_the_pictures_of_a_cut_map_can_be_made_of_the_uncut_one(strip, kind, levels):
    asked = PICTURES[kind]
    shown = strip(with_ties(levels))
    for percent in range(0, 101, 7):
        direct = kind.pictures(asked, strip(cut_map(shown.saliency, percent)))
        shared = kind.pictures([one.of_cut_map(percent, 60) for one in asked], shown)
        assert torch.equal(shared, direct)


@pytest.mark.parametrize(("first", "second"), [(20, 60), (60, 20)])
def test_a_map_may_be_calibrated_twice(strip, first, second):
    shown = strip(with_ties(1000))
    twice = shown.calibrated(first).calibrated(second)
    alone = strip(cut_map(cut_map(shown.saliency, first), second))
    assert torch.equal(twice.saliency, alone.saliency)
    asked = [Kept(), Removed(50), *PICTURES[Deleted][::10]]
    assert twice.scores(asked).tolist() == pytest.approx(alone.scores(asked).tolist(), abs=1e-6)


def test_several_maps_together_are_scored_as_each_alone(strip):
    asked = [
        *PICTURES[Kept][::5],
        *PICTURES[Inserted][::20],
        *PICTURES[Imputed][::10],
        *PICTURES[Removed][::7],
    ]
    given = [(with_ties(levels), target) for levels in (3, 8, 1000) for target in (0, 4)]
    together = [strip(*one) for one in given]
    gather([(shown, asked) for shown in [*together, together[0].calibrated(40)]])
    alone = [strip(*one).scores(asked).tolist() for one in given]
    before = together[0].probe.passes
    for shown, expected in zip(together, alone, strict=True):
        assert shown.scores(asked).tolist() == pytest.approx(expected, abs=1e-6)
    cut_alone = strip(cut_map(given[0][0], 40)).scores(asked)
    found = together[0].calibrated(40).scores(asked)
    assert found.tolist() == pytest.approx(cut_alone.tolist(), abs=1e-6)
    assert together[0].probe.passes == before + len(asked)  # those of the cut map alone


# Networks that have forgotten


@pytest.mark.parametrize(
    ("name", "share"),
    [("squeezenet1_1", 0.5), ("efficientnet_lite0", 0.5), ("resnet50", 0.8), ("vit_16", 0.9)],
)
def test_a_network_forgets_what_follows_a_layer_and_nothing_else(name, share, original):
    model, backbone = classifier(name, original)
    noise = backbone.noise()
    before = backbone(noise)
    after = backbone.cut(backbone.layers[int(share * len(backbone.layers))].name)
    found = randomised(after, 7)
    assert [layer.name for layer in found.layers] == [layer.name for layer in backbone.layers]
    assert torch.equal(backbone(noise), before)
    assert torch.equal(same_layer(after, found).trunk(noise), after.trunk(noise))
    later = {key for key, _ in after.head.named_parameters()}
    shuffled = 0
    theirs = dict(backbone.graph.named_parameters())
    assert sum(values.numel() for values in theirs.values()) == sum(
        values.numel() for values in model.parameters()
    )
    for key, values in found.graph.named_parameters():
        if key in later and values.dim() > 1:
            assert torch.equal(values.flatten().sort().values, theirs[key].flatten().sort().values)
            shuffled += not torch.equal(values, theirs[key])
        else:
            assert torch.equal(values, theirs[key])
    assert shuffled == sum(theirs[key].dim() > 1 and bool(theirs[key].std() > 0) for key in later)
    assert not torch.allclose(found(noise), before, atol=0.1)


@pytest.mark.parametrize("scene", ["tiny"], indirect=True)
def test_a_seed_is_a_network(scene):
    noise = scene.cut.backbone.noise()
    first, other = (randomised(scene.cut, seed)(noise) for seed in (0, 1))
    randomised(scene.cut, 2)
    assert torch.equal(randomised(scene.cut, 0)(noise), first)
    assert not torch.allclose(first, other, atol=0.1)


def test_a_cascade_goes_from_the_last_layer_to_the_first(lite0):
    names = [layer.name for layer in lite0.layers]
    assert [cut.layer.name for cut in cascade(lite0.cut(), 1)] == names[-1:]
    assert [cut.layer.name for cut in cascade(lite0.cut(), 3)] == [
        names[-1],
        names[len(names) // 2],
        names[0],
    ]
    tiny = tiny_scene().cut
    assert [cut.layer.name for cut in cascade(tiny, 10)] == ["4", "3", "2", "1", "0"]
