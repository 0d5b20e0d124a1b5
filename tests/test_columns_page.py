"""The wall with layers, classes or networks side by side, its pages, and two maps of it."""

import base64
import hashlib
import io
import json
import zipfile
from functools import partial

import numpy as np
import pytest
from pages import drawn, link, open_page, settle
from PIL import Image
from scipy.ndimage import map_coordinates
from torch import nn

from explorer import Backbone, Engine, Opaque, Preprocessing, Request, images
from explorer.compute import UnknownClassError
from explorer.errors import ExplorerError
from explorer.methods import METHODS
from explorer.ui.cells import plain
from explorer.ui.columns import stages
from explorer.ui.state import service

pytestmark = pytest.mark.usefixtures("furnished")


@pytest.fixture
def visit():
    return partial(open_page, "compare")


@pytest.fixture(scope="module")
def engine():
    return Engine()


def three_classes(name):
    """A network of one's own that knows three classes."""
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    seen = Preprocessing(64, (64, 64), "bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return Backbone(name, nn.Sequential(Opaque(trunk), Opaque(head)), seen, labels=("a", "b", "c"))


def values(data):
    return np.frombuffer(base64.b64decode(data["values"]), np.uint8).tolist()


def eight_bit(explanation):
    return np.rint(255 * explanation.attribution.saliency.numpy()).astype(np.uint8).ravel().tolist()


def wall(app):
    """The maps of the wall, without those of the calibration and of the two maps."""
    return [data for data in drawn(app) if data["view"] is None and " two " not in data["identifier"]]


def test_stages_are_the_last_layers_of_each_resolution(engine):
    layers = engine.backbone("efficientnet_lite0").layers
    heights = {layer.name: layer.height for layer in layers}
    found = stages(layers)
    assert [heights[name] for name in found] == sorted(set(heights.values()), reverse=True)
    assert found[-1] == layers[-1].name


def test_layers_side_by_side_for_every_method(visit, engine):
    app = visit(columns="layers", methods="grad-cam,layer-cam", samples="coffee")
    names = stages(engine.backbone("efficientnet_lite0").layers)
    expected = [
        eight_bit(engine.explain(images.sample("coffee"), Request(layer=layer, method=METHODS[method]())))
        for method in ("grad-cam", "layer-cam")
        for layer in names
    ]
    assert [values(data) for data in wall(app)] == expected
    app.multiselect(key="widget layers.efficientnet_lite0").set_value([names[-1], names[1]])
    settle(app.run())
    assert [values(data) for data in wall(app)] == [expected[place] for place in (1, 4, 6, 9)]
    assert link(app)["layers.efficientnet_lite0"] == f"{names[-1]},{names[1]}"
    again = visit(**link(app))
    assert [values(data) for data in wall(again)] == [values(data) for data in wall(app)]


def test_classes_side_by_side_by_place_and_by_name(visit, engine):
    app = visit(columns="classes", methods="grad-cam")
    prediction = engine.predict(images.sample("chelsea"), "efficientnet_lite0")
    first, second = prediction.top(2)
    assert [data["alt"].split(" on ")[0] for data in wall(app)] == [
        f"Grad-CAM map for {prediction.labels[index]}" for index in (first, second)
    ]
    app.multiselect(key="widget classes.efficientnet_lite0").set_value(["1st", "504"])
    settle(app.run())
    picture = images.sample("chelsea")
    assert [values(data) for data in wall(app)] == [
        eight_bit(engine.explain(picture, Request(target=target))) for target in (first, 504)
    ]


def test_the_expected_class_stands_beside_the_predicted_one(visit, engine):
    """By a button, once another class than the predicted one is chosen for a picture; the link says so."""

    def offered():
        return [button for button in app.button if button.label == "Beside the predicted class"]

    app = visit(methods="grad-cam,eigen-cam", samples="chelsea,coffee")
    assert not offered()
    app.selectbox(key="widget class.chelsea").set_value(504)
    settle(app.run())
    [button] = offered()
    button.click()
    settle(app.run())
    assert not offered()
    assert link(app)["classes.efficientnet_lite0"] == "1st,chosen"
    requests = [
        (picture, method, target)
        for picture, other in (("chelsea", 504), ("coffee", None))
        for method in ("grad-cam", "eigen-cam")
        for target in (None, other)
    ]
    expected = [
        eight_bit(engine.explain(images.sample(picture), Request(method=METHODS[method](), target=target)))
        for picture, method, target in requests
    ]
    for page in (app, visit(**{key.replace(".", "__"): value for key, value in link(app).items()})):
        assert [values(data) for data in wall(page)] == expected


def test_networks_side_by_side_each_with_its_own_prediction(visit, engine):
    app = visit(columns="networks", methods="grad-cam", samples="coffee", **{"class__coffee": "504"})
    names = [f"efficientnet_lite{number}" for number in range(3)]
    picture = images.sample("coffee")
    assert [values(data) for data in wall(app)] == [
        eight_bit(engine.explain(picture, Request(backbone=name, target=504))) for name in names
    ]
    app.selectbox(key="widget class.coffee").set_value(-1)
    settle(app.run())
    labels = [engine.explain(picture, Request(backbone=name)).label for name in names]
    assert [data["alt"].split(" on ")[0] for data in wall(app)] == [
        f"Grad-CAM map for {label}" for label in labels
    ]


def test_a_class_that_a_network_does_not_know_is_said(engine):
    request = Request(target="mug of beer")
    with pytest.raises(UnknownClassError, match="efficientnet_lite0 knows no class called 'mug of beer'"):
        engine.explain(images.sample("coffee"), request)
    with pytest.raises(UnknownClassError, match="2 classes called 'CARDIGAN', 264 and 474"):
        engine.explain(images.sample("coffee"), Request(target="CARDIGAN"))
    assert engine.explain(images.sample("coffee"), Request(target="cardigan")).target == 474
    assert engine.explain(images.sample("coffee"), Request(target="Coffee mug")).target == 504


def test_a_class_that_the_next_network_lacks_gives_way_to_the_predicted_one(visit, monkeypatch):
    """Its index lies beyond the classes of a network of one's own."""
    app = visit(methods="grad-cam", **{"class__chelsea": "504", "columns": "networks"})
    monkeypatch.setitem(service().engine._own, "alexnet", three_classes("alexnet"))
    app.multiselect(key="widget networks").set_value(["alexnet"])
    app.selectbox(key="widget backbone").set_value("alexnet")
    settle(app.run())
    assert not app.error
    [data] = wall(app)
    assert data["alt"].split(" map for ")[1][0] in "abc"


def test_one_map_under_two_names_fails_in_both(visit, monkeypatch):
    def fail(self, probe, target, references=None):
        raise ExplorerError("No luck: try again.")

    monkeypatch.setattr(METHODS["random"], "__call__", fail)
    app = visit(
        columns="classes", methods="random", samples="rocket", **{"classes.efficientnet_lite0": "1st,657"}
    )
    assert [error.value for error in app.error] == [plain("No luck: try again.")] * 2


def test_what_is_taken_away_holds_all_columns(visit):
    app = visit(columns="layers", methods="grad-cam", **{"layers.efficientnet_lite0": "blocks.2,blocks.6"})
    [button] = [button for button in app.button if button.label == "Make the bundle"]
    settle(button.click().run())
    archive = zipfile.ZipFile(io.BytesIO(service().encoded(app.session_state["taken"]).result.archive))
    entries = json.loads(archive.read("manifest.json"))["explanations"]
    assert [entry["backbone"]["layer"] for entry in entries] == ["blocks.2", "blocks.6"]


def photographs(count):
    """So many different pictures of one colour each."""
    for number in range(count):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), (10 * number, 90, 120)).save(buffer, "PNG")
        yield f"{number:02}.png", buffer.getvalue(), "image/png"


def test_a_large_wall_is_drawn_a_page_at_a_time_and_made_whole(visit):
    app = visit(methods="random,centre-gaussian,constant,eigen-cam", samples="", metrics="")
    app.file_uploader[0].set_value([*photographs(20)])
    settle(app.run())
    pages = app.button_group(key="widget page")
    assert [option.content for option in pages.proto.options] == ["1–9", "10–18", "19–20"]
    assert len(drawn(app, "photo")) == 9
    first = {data["identifier"] for data in drawn(app, "photo")}
    pages.set_value("3")
    settle(app.run())
    assert len(drawn(app, "photo")) == 2
    assert not first & {data["identifier"] for data in drawn(app, "photo")}
    assert link(app)["page"] == "3"
    digests = {hashlib.sha256(data).hexdigest() for _, data, _ in photographs(20)}
    kept = [key for key in service()._device._finished._entries if key[:1] == ("explanation",)]
    assert sum(key[1] in digests for key in kept) == 20 * 4


def test_two_maps_and_their_difference(visit):
    app = visit(methods="grad-cam,random,constant", two="yes")
    shown = [data["alt"] for data in drawn(app) if " two " in data["identifier"]]
    assert [alt.split(" map ")[0] for alt in shown] == ["Grad-CAM", "Random"]
    assert any("Pearson's correlation of the maps" in text.value for text in app.markdown)
    app.selectbox(key="widget two.second").set_value("Grad-CAM")
    settle(app.run())
    assert any("Pearson's correlation of the maps: **1.000**" in text.value for text in app.markdown)
    assert any("two maps are the same" in text.value for text in app.caption)


def said_correlation(app):
    [found] = [text.value for text in app.markdown if "Pearson's correlation of the maps" in text.value]
    return float(found.split("**")[1])


def test_two_maps_of_networks_that_see_at_different_sizes(visit, engine):
    """Their correlation is that at places of the photograph, wherever those lie in each map."""
    names = ["efficientnet_lite0", "efficientnet_lite1"]
    app = visit(columns="networks", methods="grad-cam", samples="coffee", networks=",".join(names), two="yes")
    found = [engine.explain(images.sample("coffee"), Request(backbone=name)) for name in names]
    assert len({one.attribution.saliency.shape for one in found}) == 2
    lowest, highest = (
        (max(one.box[side] for one in found) for side in (0, 1)),
        (min(one.box[side] for one in found) for side in (2, 3)),
    )
    x, y = (np.linspace(low, high, 150) for low, high in zip(lowest, highest, strict=True))
    taken = []
    for one in found:
        left, top, right, bottom = one.box
        height, width = one.attribution.saliency.shape
        places = np.meshgrid(
            (y - top) / (bottom - top) * height - 0.5,
            (x - left) / (right - left) * width - 0.5,
            indexing="ij",
        )
        taken.append(map_coordinates(one.attribution.saliency.numpy(), places, order=1, mode="nearest"))
    assert said_correlation(app) == pytest.approx(np.corrcoef(*map(np.ravel, taken))[0, 1], abs=0.002)
    assert any("on what both networks see" in caption.value for caption in app.caption)


def test_two_maps_of_layers_are_compared_pixel_by_pixel(visit, engine):
    layers = ("blocks.4", "blocks.6")
    query = {"layers.efficientnet_lite0": ",".join(layers)}
    app = visit(columns="layers", methods="grad-cam", two="yes", **query)
    maps = [
        engine.explain(images.sample("chelsea"), Request(layer=layer)).attribution.saliency.numpy()
        for layer in layers
    ]
    assert said_correlation(app) == round(np.corrcoef(*map(np.ravel, maps))[0, 1], 3)
    assert any("on what the network sees" in caption.value for caption in app.caption)


def test_a_link_to_what_is_not_there_gives_the_default(visit):
    classes = "classes.efficientnet_lite0"
    for query in (
        {"columns": "<script>"},
        {"columns": "layers", "layers.efficientnet_lite0": "../x"},
        {"columns": "classes", classes: ",".join(map(str, range(13)))},
        {"columns": "networks", "networks": ",".join(f"timm:n{number}" for number in range(13))},
    ):
        app = visit(methods="grad-cam", **query)
        assert any([*query][-1] in warning.value for warning in app.warning)
        assert wall(app)
