"""The engine: the same numbers whatever was asked before, and sentences where there are none."""

import copy
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from explorer import (
    METRICS,
    Backbone,
    Engine,
    ExplorerError,
    Picture,
    Preprocessing,
    Probe,
    Request,
    calibrate,
    cut_map,
    sample,
)
from explorer.compute import BaseMaps, Linearity, Progress, Service, State
from explorer.compute.engine import all_references
from explorer.library import Subject, select
from explorer.methods import find
from explorer.methods.gradient import GradCAM
from explorer.methods.libra import LibraCAM
from explorer.metrics import Objects, passes_of
from explorer.render.manifest import entry

LIBRA = Request(method=LibraCAM(size=6))
LONG = 120


@pytest.fixture(scope="module")
def engine():
    return Engine("cpu")


class Watch(Progress):
    """Remembers what it is told, and may stop the work."""

    def __init__(self, stop_after=None):
        self.stages, self.steps, self.stop_after = [], 0, stop_after

    def begin(self, stage, total=0):
        self.stages.append(stage)

    def advance(self, steps):
        self.steps += steps
        if self.stop_after is not None and self.steps > self.stop_after:
            raise InterruptedError


@pytest.mark.parametrize("name", ["grad-cam", "libra-cam"])
def test_an_explanation_is_that_of_the_parts_put_together_by_hand(engine, name):
    picture = sample("coffee")
    request = Request(method=find(name)())
    explanation = engine.explain(picture, request)
    backbone = engine.backbone("efficientnet_lite0")
    probe = Probe(backbone.cut(), backbone.preprocessing.tensor(picture))
    target = int(probe.logits.argmax())
    library = engine.library(backbone.cut(), "built-in")
    subject = Subject.seen(picture.digest, probe.image, probe.activation, backbone.preprocessing)
    references = library.activations(select(library, target, subject=subject).indices)
    attribution = request.method(probe, target, references)
    curve = calibrate(probe, attribution.saliency, target)
    torch.testing.assert_close(explanation.attribution.saliency, attribution.saliency, atol=1e-6, rtol=0)
    assert (explanation.target, explanation.label) == (target, "espresso")
    assert explanation.probability == pytest.approx(float(probe.probabilities[target]))
    assert explanation.calibration.cut == curve.cut
    assert explanation.calibration.probabilities == pytest.approx(curve.probabilities, abs=1e-6)


@pytest.mark.parametrize("method", [GradCAM(), LibraCAM(size=6), LibraCAM(size=6, official=True)], ids=str)
def test_figures_are_of_the_cut_that_the_explanation_recommends(engine, method):
    picture, request = sample("coffee"), Request(method=method)
    [figures] = engine.figures(picture, [request], [METRICS["complexity"]()])
    explanation = engine.explain(picture, request)
    assert figures.calibration.cut == explanation.calibration.cut
    cut = cut_map(explanation.attribution.saliency, explanation.calibration.cut)
    assert figures.calibrated["complexity"] == pytest.approx(float(cut.mean()), abs=1e-6)


def test_the_speed_is_that_of_forward_passes_and_of_most_of_them(monkeypatch):
    """Neither what is set up before them counts, nor a first batch that is slow."""
    engine, now = Engine("cpu"), [0.0]
    forward, method = Backbone.__call__, GradCAM.__call__
    first = iter([9.0])
    monkeypatch.setattr("explorer.backbones.backbone.time.perf_counter", lambda: now[0])

    def passes(backbone, images):
        now[0] += len(images) * 0.02 + next(first, 0.0)
        return forward(backbone, images)

    def set_up(*arguments):
        now[0] += 30
        return method(*arguments)

    monkeypatch.setattr(Backbone, "__call__", passes)
    monkeypatch.setattr(GradCAM, "__call__", set_up)
    assert engine.pace("efficientnet_lite0") is None
    engine.predict(sample("coffee"), "efficientnet_lite0")
    assert engine.pace("efficientnet_lite0") is None
    engine.explain(sample("coffee"), Request(method=GradCAM()))
    assert engine.pace("efficientnet_lite0") == pytest.approx(0.02)


SHARING = ["average-drop", "average-gain", "adcc", "coherency", "calibration-auc"]
OPTIONS = {"fill": "black", "mask": "top half", "stages": 2, "squares": 3, "step": 99}


@pytest.mark.parametrize("names", [*([name] for name in METRICS), SHARING, [*METRICS]], ids=" ".join)
@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["as declared", "otherwise"])
def test_the_figures_of_a_map_take_as_many_passes_as_is_said(monkeypatch, names, options):
    """The method again for the map, and what its metrics ask for, plain and calibrated, each of it once."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )
    seen = Preprocessing(64, (64, 64), "bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    engine, counted = Engine("cpu"), Counter()
    engine.add(Backbone("small", model, seen, labels=("a", "b", "c")))
    count = Probe._count
    monkeypatch.setattr(
        Probe, "_count", lambda probe, passes: (counted.update(all=passes), count(probe, passes))
    )
    metrics = [
        METRICS[name](**{one.name: options[one.name] for one in fields(METRICS[name]) if one.name in options})
        for name in names
    ]
    method = find("smooth-grad-cam++")(samples=3)
    objects = Objects(torch.ones(64, 64, dtype=torch.bool), ((0, 0, 64, 64),))
    [found] = engine.figures(sample("chelsea"), [Request("small", method=method, target=1)], metrics, objects)
    assert found.blank is None
    assert found.calibration.cut > 0
    assert counted["all"] == 4 + passes_of(tuple(metrics), 64 * 64, 4, found.calibration.cut)


def test_libra_cam_needs_no_stored_library(engine, home):
    explanation = engine.explain(sample("rocket"), replace(LIBRA, library="on-the-fly"))
    used = explanation.references
    assert explanation.attribution.blank is None
    assert (used.library.info.name, len(used.kept)) == ("on-the-fly", 6)
    assert "rocket" not in {used.library.ids[index] for index in used.indices.tolist()}
    assert not home.exists()


def test_a_map_does_not_depend_on_what_was_asked_before(engine):
    sizes = [5, 30, 3, 100, 5]
    maps = [engine.explain(sample("rocket"), replace(LIBRA, method=LibraCAM(size=size))) for size in sizes]
    fresh = Engine("cpu").explain(sample("rocket"), replace(LIBRA, method=LibraCAM(size=5)))
    for explanation in (maps[0], maps[4]):
        assert torch.equal(explanation.attribution.saliency, fresh.attribution.saliency)
        assert explanation.calibration == fresh.calibration
        assert explanation.passes == fresh.passes
    assert not torch.equal(maps[1].attribution.saliency, maps[0].attribution.saliency)


def test_once_all_references_are_measured_a_library_size_costs_only_its_curve(engine):
    picture, watch = sample("astronaut"), Watch()
    available = engine.explain(picture, LIBRA).references.available
    assert engine.measure(picture, all_references(LIBRA)) == available
    explanation = engine.explain(picture, replace(LIBRA, method=LibraCAM(size=77)), watch)
    assert watch.steps == len(LIBRA.levels)
    assert explanation.references.measured == available
    assert len(explanation.references.kept) == 77


def test_another_order_of_measured_references_costs_nothing(engine):
    """Another rule, other pins: what is measured is kept by record."""
    picture, watch = sample("astronaut"), Watch()
    engine.measure(picture, all_references(LIBRA))
    names = references_of(engine, picture, LIBRA)
    pinned = replace(LIBRA, rule="lowest", seed=3, pinned=(names[5],), excluded=(names[0],))
    explanation = engine.explain(picture, pinned, watch)
    assert watch.steps == len(LIBRA.levels)
    fresh = Engine("cpu").explain(picture, pinned)
    torch.testing.assert_close(
        explanation.attribution.saliency, fresh.attribution.saliency, atol=1e-6, rtol=0
    )
    assert explanation.passes == fresh.passes


def references_of(engine, picture, request):
    used = engine.explain(picture, request).references
    return [used.library.ids[index] for index in used.indices.tolist()]


def test_pinned_references_come_first_and_excluded_ones_never(engine):
    picture = sample("coffee")
    everything = references_of(engine, picture, all_references(LIBRA))
    [out, first, second] = (everything[place] for place in (1, 40, 20))
    asked = replace(
        LIBRA, pinned=(first, "of another library", out, second, first), excluded=(out, "nowhere")
    )
    explanation = engine.explain(picture, asked)
    rest = [name for name in everything if name not in (out, first, second)]
    assert references_of(engine, picture, asked) == [first, second, *rest[:4]]
    assert explanation.references.pinned == 2
    assert explanation.references.kept[:2].all()
    assert explanation.references.available == len(everything) - 1
    assert entry(explanation)["library"]["pinned"] == list(asked.pinned)
    assert entry(explanation)["library"]["excluded"] == [out, "nowhere"]


def test_a_map_with_pinned_references_is_that_of_the_method_alone(engine):
    """And of the masked picture, for coherency, the same references are kept."""
    picture, whole = sample("coffee"), all_references(LIBRA)
    gains = engine.explain(picture, whole).references.gains
    worst = references_of(engine, picture, whole)[int(gains.argmin())]
    asked = replace(LIBRA, pinned=(worst,))
    explanation = engine.explain(picture, asked)
    used = explanation.references
    assert float(used.gains[0]) == pytest.approx(float(gains.min()), abs=1e-6)
    backbone = engine.backbone("efficientnet_lite0")
    probe = Probe(backbone.cut(), backbone.preprocessing.tensor(picture))
    references = used.library.activations(used.indices)
    alone = LIBRA.method(probe, explanation.target, references, 1)
    torch.testing.assert_close(explanation.attribution.saliency, alone.saliency, atol=1e-6, rtol=0)
    masked = probe.seeing(probe.image * alone.saliency)
    again = LIBRA.method(masked, explanation.target, references, 1)
    [figures] = engine.figures(picture, [asked], [METRICS["coherency"]()])
    alike = np.corrcoef(alone.saliency.flatten().numpy(), again.saliency.flatten().numpy())[0, 1]
    assert figures.plain["coherency"] == pytest.approx((alike + 1) / 2, abs=1e-4)


def test_all_references_excluded_is_refused(engine):
    everything = references_of(engine, sample("coffee"), all_references(LIBRA))
    with pytest.raises(ExplorerError, match="Every reference is excluded"):
        engine.explain(sample("coffee"), replace(LIBRA, excluded=tuple(everything)))


@pytest.mark.parametrize("layer", [None, "blocks.6"])
def test_predicted_and_true_score_differences_are_those_of_the_head_in_float64(engine, layer):
    """The last layer has a linear head, on which the prediction is exact; an earlier one has not."""
    picture, request = sample("coffee"), replace(LIBRA, layer=layer, library="on-the-fly")
    explanation = engine.explain(picture, request)
    found = engine.study(picture, request, Linearity())
    backbone = engine.backbone("efficientnet_lite0")
    cut = backbone.cut(layer)
    head = copy.deepcopy(cut.head).double()
    probe = Probe(cut, backbone.preprocessing.tensor(picture))
    here = probe.raw.double().requires_grad_()
    score = head(here)[0, explanation.target]
    [slopes] = torch.autograd.grad(score, here)
    used = explanation.references
    there = used.library.activations(used.indices).double()
    assert found.true.tolist() == pytest.approx(
        (score - head(there)[:, explanation.target]).tolist(), abs=1e-3
    )
    assert found.predicted.tolist() == pytest.approx(
        ((here - there) * slopes).flatten(1).sum(1).tolist(), abs=1e-3
    )
    exact = torch.allclose(found.predicted, found.true, rtol=1e-3, atol=1e-3)
    assert exact == (layer is None)


def test_base_maps_are_those_of_the_references_in_their_order(engine):
    picture = sample("coffee")
    explanation = engine.explain(picture, LIBRA)
    backbone = engine.backbone("efficientnet_lite0")
    probe = Probe(backbone.cut(), backbone.preprocessing.tensor(picture))
    used = explanation.references
    expected = LIBRA.method.evidence(
        probe, explanation.target, used.library.activations(used.indices)
    ).base_maps
    assert torch.allclose(engine.study(picture, LIBRA, BaseMaps(0, 4)), expected[:4], atol=1e-6)
    assert torch.allclose(engine.study(picture, LIBRA, BaseMaps(4, 4)), expected[4:], atol=1e-6)


@pytest.mark.parametrize(("percent", "by"), [(30, "area"), (50, "value"), (100, "area")])
def test_the_picture_at_a_cut_and_its_complement(engine, percent, by):
    picture = sample("coffee")
    explanation = engine.explain(picture, LIBRA)
    kept, rest = engine.at_cut(picture, explanation, percent, by)
    backbone = engine.backbone("efficientnet_lite0")
    image = backbone.preprocessing.tensor(picture)
    mask = cut_map(explanation.attribution.saliency, percent, by)
    for sight, seen in ((kept, image * mask), (rest, image * (1 - mask))):
        with torch.inference_mode():
            chance = backbone(seen[None]).double().softmax(1)[0, explanation.target]
        assert sight.probability == pytest.approx(float(chance), abs=1e-5)
        assert np.array_equal(sight.colours, backbone.preprocessing.colours(seen).numpy())
    assert mask.any() == (percent < 100)


def test_passes_are_those_that_the_map_takes_from_nothing(engine):
    assert engine.explain(sample("china"), Request(method=GradCAM())).passes == 1 + 10
    assert engine.explain(sample("china"), LIBRA).passes == 1 + 8 + 10  # six references in batches of four


def test_the_predicted_class_is_the_default_and_another_can_be_asked(engine):
    first = engine.explain(sample("coffee"), Request())
    again = engine.explain(sample("coffee"), Request(target=first.target))
    mug = engine.explain(sample("coffee"), Request(target=504))
    assert torch.equal(first.attribution.saliency, again.attribution.saliency)
    assert mug.label == "coffee mug"
    assert not torch.equal(first.attribution.saliency, mug.attribution.saliency)
    prediction = engine.predict(sample("coffee"), "efficientnet_lite0")
    assert prediction.top(1) == [first.target]
    assert float(prediction.probabilities[504]) == pytest.approx(mug.probability)


def test_the_map_is_delivered_before_its_curve(engine):
    delivered = []
    explanation = engine.explain(sample("motorcycle"), Request(), deliver=delivered.append)
    [early] = delivered
    assert early.calibration is None
    assert early.attribution.saliency is not None
    assert explanation.calibration is not None


def test_a_blank_map_has_a_reason_and_no_curve(engine, monkeypatch):
    monkeypatch.setattr(Probe, "gradient", lambda self, target: -torch.ones_like(self.activation))
    explanation = engine.explain(sample("chelsea"), Request(target=3))
    assert "No position speaks for this class" in explanation.attribution.blank
    assert explanation.calibration is None
    assert not explanation.attribution.saliency.any()


@pytest.mark.parametrize("size", [(900, 300), (300, 900), (50, 60)])
def test_pictures_of_any_shape(engine, size):
    picture = Picture("x", f"{size}", np.asarray(sample("coffee").image.resize(size)))
    explanation = engine.explain(picture, Request())
    assert explanation.attribution.saliency.shape == (224, 224)
    left, top, right, bottom = explanation.box
    assert (right - left) * size[0] == pytest.approx((bottom - top) * size[1], rel=0.02)
    assert (left + right, top + bottom) == pytest.approx((1, 1), abs=0.02)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(target=1000), "no class 1000: its classes are 0 to 999"),
        (Request(target=-2), "no class -2"),
        (Request(layer="nowhere"), "no cut point 'nowhere'"),
        (Request(backbone="nothing"), "no backbone 'nothing'"),
        (replace(LIBRA, library="none"), "no library 'none'"),
    ],
)
def test_refusals_are_sentences(engine, request_, words):
    with pytest.raises(ExplorerError, match=words):
        engine.explain(sample("chelsea"), request_)


def test_a_library_of_the_class_alone_is_refused(engine, monkeypatch):
    library = engine.library(engine.backbone("efficientnet_lite0").cut(), "built-in")
    monkeypatch.setattr(
        Engine, "library", lambda *_: replace(library, labels=torch.full_like(library.labels, 9))
    )
    with pytest.raises(ExplorerError, match="no picture of another class"):
        engine.explain(sample("chelsea"), replace(LIBRA, target=9))


def test_stopped_work_leaves_a_usable_engine(engine):
    picture, request = sample("motorcycle"), replace(LIBRA, method=LibraCAM(size=40))
    with pytest.raises(InterruptedError):
        engine.explain(picture, request, Watch(stop_after=10))
    watch = Watch()
    explanation = engine.explain(picture, request, watch)
    expected = Engine("cpu").explain(picture, request)
    assert watch.steps < 40 + 10, "what was measured before the stop is lost"
    assert torch.equal(explanation.attribution.saliency, expected.attribution.saliency)


def test_precisions_are_kept_apart(engine):
    exact = engine.explain(sample("chelsea"), Request())
    quick = engine.explain(sample("chelsea"), Request(precision="bfloat16"))
    again = engine.explain(sample("chelsea"), Request())
    assert quick.calibration.probabilities != exact.calibration.probabilities
    assert again.calibration == exact.calibration


def test_stages_are_named(home):
    watch = Watch()
    Engine("cpu").explain(sample("chelsea"), LIBRA, watch)
    assert watch.stages[0] == "Loading efficientnet_lite0"
    assert "Building the built-in library" in watch.stages
    assert watch.stages[-1].startswith("Calibrating Libra-CAM")


def test_service_gives_what_the_engine_gives(engine):
    service = Service(engine)
    picture = service.sample("coffee", "me")
    assert picture.wait(LONG)
    job = service.explanation(picture.result, LIBRA, "me")
    rest = service.measurement(picture.result, LIBRA, "me")
    assert rest.wait(LONG)
    assert job.state is State.DONE
    assert torch.equal(
        job.result.attribution.saliency, engine.explain(sample("coffee"), LIBRA).attribution.saliency
    )
    assert service.remembered(picture.result, LIBRA) is job.result
    bad = service.upload(service.uploads.put("notes.jpg", b"text"), "me")
    assert bad.wait(LONG)
    assert '"notes.jpg"' in bad.error
    missing = service.explanation(picture.result, replace(LIBRA, library="gone"), "me")
    assert missing.wait(LONG)
    assert "no library 'gone'" in missing.error
