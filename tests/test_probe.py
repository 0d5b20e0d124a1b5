"""The probe against the un-cut network, and many threads on one of it."""

from concurrent.futures import ThreadPoolExecutor

import papers
import pytest
import torch
import torch.nn.functional as F
from scenes import SMALL

from explorer import METHODS, Probe, calibrate, sample
from explorer.backbones import Backbone
from explorer.probe import normalise


@pytest.fixture(scope="module")
def image(lite0):
    return lite0.preprocessing.tensor(sample("chelsea"))


@pytest.fixture
def masks():
    return torch.rand(9, 7, 7, generator=torch.Generator().manual_seed(1))


def test_scores_are_those_of_the_masked_picture(lite0, original, image, masks):
    probe = Probe(lite0.cut(), image)
    whole = F.interpolate(masks[:, None], (224, 224), mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = original("efficientnet_lite0")(image * whole).softmax(1)[:, 282]
    torch.testing.assert_close(probe.scores(masks, 282), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(probe.scores(whole[:, 0], 282), expected, atol=1e-5, rtol=0)


def test_gradient_is_that_of_the_whole_network(lite0, original, image):
    seen = []
    model = original("efficientnet_lite0")

    def keep(module, inputs, output):
        output.retain_grad()
        seen.append(output)

    model.bn2.register_forward_hook(keep)
    model(image[None])[0, 282].backward()
    probe = Probe(lite0.cut(), image)
    torch.testing.assert_close(probe.gradient(282), seen[0].grad[0], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(probe.activation, seen[0].detach()[0], atol=1e-4, rtol=1e-4)


def test_passes_are_counted_and_told(lite0, image, masks):
    told = []
    probe = Probe(lite0.cut(), image, batch=4, tick=told.append)
    probe.scores(masks, 0)
    assert told == [1, 4, 4, 1]
    assert probe.passes == 10


def test_a_tick_that_raises_stops_before_the_next_chunk(lite0, image, masks):
    probe = Probe(lite0.cut(), image, batch=2)
    probe.tick = lambda passes: (_ for _ in ()).throw(InterruptedError)
    with pytest.raises(InterruptedError):
        probe.scores(masks, 0)
    assert probe.passes == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_the_chunk_is_halved_until_it_fits(lite0, image, masks, monkeypatch, error):
    probe = Probe(lite0.cut(), image, batch=8)
    expected = probe.scores(masks, 282)
    forward = Backbone.__call__

    def small(self, images):
        if len(images) > 2:
            raise error
        return forward(self, images)

    monkeypatch.setattr(Backbone, "__call__", small)
    told = []
    probe.tick = told.append
    torch.testing.assert_close(probe.scores(masks, 282), expected, atol=1e-6, rtol=0)
    assert probe.batch == 2
    assert told == [2, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("error", "batch", "tries"),
    [(RuntimeError("broken"), 8, 1), (torch.OutOfMemoryError("CUDA out of memory"), 4, 3)],
    ids=["another error", "one picture too many"],
)
def test_an_error_that_smaller_chunks_do_not_heal_passes_through(
    lite0, image, masks, monkeypatch, error, batch, tries
):
    asked = []

    def broken(self, images):
        asked.append(len(images))
        raise error

    probe = Probe(lite0.cut(), image, batch=batch)
    monkeypatch.setattr(Backbone, "__call__", broken)
    with pytest.raises(type(error), match=str(error)):
        probe.scores(masks, 0)
    assert asked == [batch // 2**i for i in range(tries)]
    assert probe.passes == 1


def test_no_masks_cost_nothing(lite0, image, masks):
    probe = Probe(lite0.cut(), image)
    assert probe.scores(masks[:0], 0).shape == (0,)
    assert probe.passes == 1


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_normalise_reaches_zero_and_one_exactly_beside_broken_maps(masks, scale):
    broken = torch.full((3, 7, 7), -scale)
    broken[1, 2, 3] = float("nan")
    broken[2, 2, 3] = float("-inf")
    scaled = normalise(torch.cat([(masks - 0.5) * scale, broken]))
    assert scaled.amin((1, 2)).tolist() == [0.0] * 12
    assert scaled.amax((1, 2)).tolist() == [1.0] * 9 + [0.0] * 3
    low, high = masks.double().amin((1, 2), True), masks.double().amax((1, 2), True)
    torch.testing.assert_close(scaled[:9].double(), (masks - low) / (high - low), atol=1e-6, rtol=0)


def test_quick_preset_is_near_but_not_exact(lite0, image, masks):
    exact = Probe(lite0.cut(), image).scores(masks, 282)
    quick = Probe(lite0.cut(), image, precision="bfloat16").scores(masks, 282)
    assert not torch.equal(exact, quick)
    torch.testing.assert_close(quick, exact, atol=0.15, rtol=0)


def test_four_threads_on_one_backbone_are_bit_equal_to_one(original):
    """Hooks or gradients left on a shared network make wrong maps, or crash the process."""
    backbone = Backbone("lite0", original("efficientnet_lite0"), SMALL, ("?",) * 1000)
    cut = backbone.cut()
    inputs = {name: SMALL.tensor(sample(name)) for name in ("chelsea", "coffee", "rocket", "china")}
    references = torch.stack([Probe(cut, image).activation for image in inputs.values()]).roll(1, 0)

    def explain(task):
        method, name, target = task
        probe = Probe(cut, inputs[name])
        saliency = METHODS[method](**papers.OPTIONS.get(method, {}))(probe, target, references).saliency
        return saliency, calibrate(probe, saliency, target, (0, 50)).probabilities

    tasks = [(method, name, target) for method in METHODS for name in inputs for target in (282, 967)]
    alone = [explain(task) for task in tasks]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(explain, tasks * 2))
    for (saliency, curve), (expected, expected_curve) in zip(together, alone * 2, strict=True):
        assert torch.equal(saliency, expected)
        assert curve == expected_curve
    assert all(parameter.grad is None for parameter in backbone._traced.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in backbone._traced.modules())
