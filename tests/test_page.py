"""The state of the page, without a browser."""

import base64
import gc
import hashlib
import io
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
import torchvision
from pages import APP, chart, control, drawn, link, open_page, settle
from PIL import Image

from explorer import Request, images
from explorer.backbones import keep
from explorer.compute import Engine, Uploads
from explorer.compute.cache import LRU
from explorer.methods import METHODS, Attribution, Blank
from explorer.methods.base import from_signed
from explorer.methods.gradient import GradCAM
from explorer.methods.libra import LibraCAM
from explorer.ui.state import service

pytestmark = pytest.mark.usefixtures("furnished")


@pytest.fixture
def visit():
    return partial(open_page, "compare")


def jpeg(identifier, size):
    buffer = io.BytesIO()
    images.sample(identifier).image.resize(size).save(buffer, "JPEG")
    return buffer.getvalue()


def test_first_page_explains_a_sample(visit):
    app = visit()
    assert not app.error
    assert [data["alt"] for data in drawn(app)[:2]] == [
        "Grad-CAM map for tiger cat on chelsea",
        "Libra-CAM map for tiger cat on chelsea",
    ]
    assert not dict(app.query_params)


def test_a_run_leaves_the_path_of_modules_alone(visit, monkeypatch):
    """A worker that looks for a module while a folder is put in front or taken away may miss another."""
    app = visit()
    changes = []

    class Watched(list):
        def insert(self, *arguments):
            changes.append(arguments)
            super().insert(*arguments)

        def remove(self, *arguments):
            changes.append(arguments)
            super().remove(*arguments)

    monkeypatch.setattr(sys, "path", Watched(sys.path))
    app.run()
    assert not changes
    packages = str(Path(skimage.__file__).parents[1])
    assert sys.path.index(str(APP.parent)) > sys.path.index(packages), "files of the page hide packages"


def test_the_page_shows_the_numbers_of_the_engine(visit):
    app = visit(methods="libra-cam", **{"libra-cam__size": "9"})
    explanation = Engine().explain(images.sample("chelsea"), Request(method=LibraCAM(size=9)))
    [data, _] = drawn(app)
    expected = np.rint(255 * explanation.attribution.saliency.numpy()).astype(np.uint8)
    assert data["recommended"] == explanation.calibration.cut / 100
    assert np.frombuffer(base64.b64decode(data["values"]), np.uint8).tolist() == expected.ravel().tolist()
    [curve, _] = chart(app)["data"]
    assert curve["y"] == pytest.approx(list(explanation.calibration.probabilities), abs=1e-5)


SIZE = "libra-cam.size"


@pytest.mark.parametrize("page", ["compare", "lab"])
def test_a_large_library_has_a_slider_from_one_to_all(monkeypatch, page):
    """With steps that grow with the size, and whatever other size a link asks for."""
    monkeypatch.setattr("explorer.ui.sidebar._BUILT_IN_SIZE", 12_345)
    monkeypatch.setattr("explorer.ui.sidebar.installed", list)
    asked = {"methods": "libra-cam", "samples": "chelsea" if page == "lab" else "", SIZE: "7"}
    app = open_page(page, **{key.replace(".", "__"): value for key, value in asked.items()})
    size = control(app, "select_slider", SIZE)
    steps = ["1", "2", "3", "5", "7", "10", "20", "30", "50", "100", "200", "300", "500", "1,000", "2,000"]
    assert size.options == [*steps, "3,000", "5,000", "10,000", "all"]
    assert size.value == 7
    for chosen in (20, 12_345):
        control(app, "select_slider", SIZE).set_value(chosen)
        app = settle(app.run())
        assert link(app)[SIZE] == str(chosen)
        assert "7" in control(app, "select_slider", SIZE).options
    again = control(open_page(page, **link(app)), "select_slider", SIZE)
    assert (again.value, again.options[-1]) == (12_345, "all")


def test_controls_appear_in_the_link_and_the_link_restores_them(visit):
    app = visit()
    app.button_group(key="widget methods.gradients").set_value(["grad-cam++"])
    app.button_group(key="widget samples").set_value(["coffee"])
    app.toggle(key="widget fine").set_value(True)
    app.number_input(key="widget seed").set_value(4)
    app.slider(key="widget libra-cam.size").set_value(12)
    settle(app.run())
    app.selectbox(key="widget class.coffee").set_value(504)
    app.selectbox(key="widget layer.efficientnet_lite0").set_value("conv_head")
    app.session_state["look bar"] = {
        "look": {"view": "cut", "colour_map": "viridis", "opacity": 40, "cut": 65, "scale": "shared"}
    }
    settle(app.run())
    assert link(app) == {
        "methods": "grad-cam++,libra-cam",
        "samples": "coffee",
        "fine": "yes",
        "seed": "4",
        "libra-cam.size": "12",
        "class.coffee": "504",
        "layer.efficientnet_lite0": "conv_head",
        "look": "cut-viridis-40-65-shared",
    }
    again = visit(**link(app))
    assert drawn(again) == drawn(app)
    assert drawn(again, "look")[0]["look"] == {
        "view": "cut",
        "colour_map": "viridis",
        "opacity": 40,
        "cut": 65,
        "scale": "shared",
    }
    assert link(again) == link(app)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backbone", "../../etc/passwd"),
        ("backbone", "timm:../../etc/passwd"),
        ("library", "../../etc/passwd"),
        ("library", "![x](https://elsewhere/p.png)"),
        ("look", "';alert(1)-x-999-999"),
        ("look", "overlay-inferno-55-None-own-<script>"),
        ("pinned", ",".join(map(str, range(1001)))),
        ("excluded", "x" * 501),
        ("libra-cam.size", "9" * 30),
        ("libra-cam.size", "٣"),
        ("methods", "<script>"),
        ("samples", "../secret"),
        ("class.chelsea", "100000"),
        ("seed", "-1"),
        ("rule", "__class__"),
        ("fine", "1"),
        ("layer.efficientnet_lite0", "nowhere"),
        ("uploads", "../../etc/passwd"),
        ("columns", "<img src=x onerror=alert(1)>"),
        ("what.chelsea", "grey:nan,inf,-1,2"),
    ],
)
def test_refused_values_of_a_link_are_named(visit, key, value):
    app = visit(**{key: value})
    assert any(key in warning.value and "default" in warning.value for warning in app.warning)
    assert [data["alt"] for data in drawn(app)[:2]] == [data["alt"] for data in drawn(visit())[:2]]
    assert key not in app.query_params
    assert not any(value in warning.value for warning in app.warning)


def test_one_unknown_value_of_several_is_told(visit):
    app = visit(methods="grad-cam,hirescam", metrics="")
    assert any("some of methods" in warning.value for warning in app.warning)
    assert not visit(methods="grad-cam,layer-cam", metrics="").warning


def test_keys_that_nothing_asks_for_change_nothing(visit):
    app = visit(**{"foo": "<script>alert(1)</script>", "__class__": "1"})
    assert not app.warning
    assert drawn(app) == drawn(visit())


def test_class_names_are_text_whatever_they_hold(visit, home, tmp_path):
    hostile = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "**bold**",
        "![x](https://e/p.png)",
    ]
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(num_classes=4).state_dict(), tmp_path / "mine.pt")
    model = keep("mine", "squeezenet1_1", tmp_path / "mine.pt", hostile)
    classes = {f"classes.{model.identifier}": "0,1,2,3"}
    app = visit(backbone=model.identifier, methods="random", columns="classes", metrics="adcc", **classes)
    texts = [text.value for text in [*app.markdown, *app.caption, *app.info]]
    for label in hostile:
        assert any(f" map for {label} on chelsea" in data["alt"] for data in drawn(app))
        assert not any(label in text for text in texts)
        assert not any(label in body.proto.body for body in app.get("html"))
        escaped = "".join(rf"\{c}" if c in "*_[]<>:" else c for c in label)
        assert any(escaped in text for text in texts)


def test_a_class_chosen_on_a_page_at_rest_is_explained(visit):
    """With nothing else changed no other run would notice the choice."""
    app = visit(methods="grad-cam")
    app.selectbox(key="widget class.chelsea").set_value(285)
    app.run()
    assert drawn(settle(app))[0]["alt"] == "Grad-CAM map for Egyptian cat on chelsea"


def test_the_same_picture_twice_is_one_row(visit):
    app = visit(methods="grad-cam")
    chelsea = Path(skimage.__file__).parent / "data" / "chelsea.png"
    app.file_uploader[0].set_value([("mine.png", chelsea.read_bytes(), "image/png")])
    settle(app.run())
    assert len(drawn(app, "photo")) == 1


def test_bad_upload_loses_nothing(visit):
    app = visit()
    before = drawn(app)
    app.file_uploader[0].set_value(
        [("a*b`.jpg", b"text", "image/jpeg"), ("wide.jpg", jpeg("coffee", (640, 200)), "image/jpeg")]
    )
    settle(app.run())
    [error] = app.error
    assert "no JPEG, PNG or WebP" in error.value
    assert [data["alt"].rsplit(" ", 1)[1] for data in drawn(app)[:4]] == ["wide.jpg"] * 2 + ["chelsea"] * 2
    assert all(data in drawn(app) for data in before[:2])


def test_a_link_finds_an_upload_while_the_server_holds_it(visit, monkeypatch):
    app = visit(methods="grad-cam", samples="")
    app.file_uploader[0].set_value([("cup.jpg", jpeg("coffee", (320, 240)), "image/jpeg")])
    settle(app.run())
    assert link(app)["uploads"] == hashlib.sha256(jpeg("coffee", (320, 240))).hexdigest()
    again = visit(**link(app))
    assert drawn(again) == drawn(app)
    assert link(again) == link(app)
    [forget] = [button for button in again.button if button.label.startswith("Forget")]
    settle(forget.click().run())
    assert not drawn(again, "photo")
    assert "uploads" not in link(again)
    monkeypatch.setattr(service(), "uploads", Uploads())
    gone = visit(**link(app))
    assert not drawn(gone, "photo")
    assert any("no longer holds 1 of the photographs" in info.value for info in gone.info)


def test_uploads_are_held_up_to_a_limit():
    held = Uploads(room=100)
    first, second = (held.put(name, name.encode() * 40) for name in ("a", "b"))
    assert held.get(first.digest) is first
    third = held.put("c", b"c" * 40)
    assert held.get(second.digest) is None
    assert held.get(first.digest).name == "a"
    assert held.get(third.digest).data == b"c" * 40


def test_what_the_maps_take_is_said_before_they_are_asked_for(visit):
    app = visit(methods="grad-cam,libra-cam", **{"libra-cam__size": "9"})
    assert any("About 31 forward passes a picture" in caption.value for caption in app.caption)


def test_unknown_backbone_is_refused_and_the_page_stays_usable(visit):
    app = visit(backbone="timm:no-such-net")
    assert any("no-such-net" in error.value for error in app.error)
    assert not drawn(app)
    app.selectbox(key="widget backbone").set_value("efficientnet_lite0")
    settle(app.run())
    assert not app.error
    assert len(drawn(app)) == 4


def test_a_method_that_is_not_defined_is_grey_and_says_why(visit, original):
    original("squeezenet1_1")
    app = visit(backbone="squeezenet1_1", methods="cam,grad-cam")
    labels = [option.content for group in app.get("button_group") for option in group.proto.options]
    assert ":gray[CAM]" in labels
    assert "Grad-CAM" in labels
    assert any("CAM is defined only where" in caption.value for caption in app.caption)
    assert not app.error
    assert [data["alt"].split(" map for ")[0] for data in drawn(app)][:1] == ["Grad-CAM"]


def test_coincident_methods_say_so(visit):
    app = visit(methods="grad-cam,hires-cam")
    assert sum("are one map here" in caption.value for caption in app.caption) == 2


def test_a_blank_map_says_why(visit, monkeypatch):
    monkeypatch.setattr(GradCAM, "__call__", _silent)
    app = visit(methods="grad-cam", samples="motorcycle")
    [warning] = app.warning
    assert "Blank map" in warning.value
    assert "Choose" in warning.value
    assert not drawn(app)


def test_the_remedies_of_a_blank_map_are_buttons(visit, monkeypatch):
    monkeypatch.setattr(GradCAM, "__call__", _silent)
    query = {"layer__efficientnet_lite0": "blocks.6", "class__motorcycle": "7"}
    app = visit(methods="grad-cam", samples="motorcycle", **query)
    remedies = {
        "Use the deepest layer": "layer.efficientnet_lite0",
        "Explain the predicted class": "class.motorcycle",
    }
    for title, key in remedies.items():
        assert key in link(app)
        app = press(app, title)
        assert key not in link(app)
        assert "Blank map" in app.warning[0].value
        assert title not in [button.label for button in app.button]


@pytest.fixture
def apart(monkeypatch):
    """What a test has made is remembered in it alone."""
    monkeypatch.setattr(service()._device, "_finished", LRU(256))


def offered(app, picture):
    """The titles of the remedies for the maps of a picture, which their keys name."""
    return [button.label for button in app.button if images.sample(picture).digest in (button.key or "")]


@pytest.mark.parametrize("blank", Blank, ids=lambda blank: blank.name)
@pytest.mark.usefixtures("apart")
def test_every_reason_offers_a_remedy_that_changes_something(visit, monkeypatch, blank):
    """At the default layer and for the predicted class."""
    method = GradCAM if blank in GradCAM.blanks else next(m for m in METHODS.values() if blank in m.blanks)
    make = "combine" if method is LibraCAM else "__call__"
    made = getattr(method, make)

    def blanked(*arguments):
        found = made(*arguments)
        return replace(found, blank=blank, saliency=torch.zeros_like(found.saliency))

    monkeypatch.setattr(method, make, blanked)
    query = {"methods": method.name, "metrics": "", "samples": "coffee"}
    if blank is Blank.UNDEFINED:
        query["libra-cam.official"] = "yes"
    app = visit(**query)
    assert str(blank) in app.warning[0].value
    titles = offered(app, "coffee")
    assert titles
    for title in titles:
        assert link(press(visit(**query), title)) != query, title


@pytest.mark.usefixtures("apart")
def test_a_speaking_against_map_is_shown_signed(visit, monkeypatch):
    monkeypatch.setattr(GradCAM, "__call__", _silent)
    app = press(
        visit(methods="grad-cam", samples="motorcycle", look="heat-viridis-40-None"), "Show the signed map"
    )
    assert link(app)["look"] == "signed-viridis-40-None-own"
    assert drawn(app)[0]["signed"]
    assert "Show the signed map" not in offered(app, "motorcycle")


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize(
    ("layer", "finer"),
    [
        ("blocks.3", ["Use the layer blocks.3.0.bn1 (240 x 28 x 28)"]),
        ("bn1", ["Use the layer conv_stem (32 x 112 x 112)"]),
        ("conv_stem", []),
    ],
)
def test_a_finer_layer_is_offered(visit, monkeypatch, layer, finer):
    """The last one with larger maps, else the one before, if there is any."""
    monkeypatch.setattr(GradCAM, "__call__", _silent)
    app = visit(methods="grad-cam", samples="coffee", metrics="", layer__efficientnet_lite0=layer)
    titles = offered(app, "coffee")
    assert [title for title in titles if title.startswith("Use the layer ")] == finer
    assert "Use the deepest layer" in titles


@pytest.mark.usefixtures("apart")
def test_a_layer_of_the_wall_gives_way_to_another(visit, monkeypatch):
    monkeypatch.setattr(GradCAM, "__call__", _silent)
    key = "layers.efficientnet_lite0"
    app = visit(methods="grad-cam", columns="layers", metrics="", **{key: "conv_head"})
    app = press(app, "Use the deepest layer")
    assert link(app)[key] == "bn2"


def test_a_method_that_is_not_defined_offers_what_is(visit, original):
    original("squeezenet1_1")
    app = visit(backbone="squeezenet1_1", methods="cam,grad-cam", metrics="")
    assert offered(app, "chelsea") == ["Use Layer-CAM instead"]
    app = press(app, "Use Layer-CAM instead")
    assert sorted(link(app)["methods"].split(",")) == ["grad-cam", "layer-cam"]
    assert not offered(app, "chelsea")
    everything = visit(backbone="squeezenet1_1", methods="cam,grad-cam,layer-cam,eigen-cam", metrics="")
    app = press(everything, "Leave out CAM")
    assert sorted(link(app)["methods"].split(",")) == ["eigen-cam", "grad-cam", "layer-cam"]


def test_a_map_that_cancels_gives_way_to_another_method(visit, monkeypatch):
    def cancelled(self, probe, target, references=None):
        return Attribution(torch.zeros(probe.size), probe.activation.sum(0), Blank.CANCELS)

    monkeypatch.setattr(METHODS["hires-cam"], "__call__", cancelled)
    app = visit(methods="random,hires-cam", class__chelsea="3")
    titles = [button.label for button in app.button if button.label.startswith("Use ")]
    assert titles == ["Use Grad-CAM instead", "Use Layer-CAM instead"]
    app = press(app, "Use Layer-CAM instead")
    assert sorted(link(app)["methods"].split(",")) == ["layer-cam", "random"]
    assert not app.warning


def press(app, title):
    [button] = [button for button in app.button if button.label == title]
    button.click()
    return settle(app.run())


def _silent(self, probe, target, references=None):
    return from_signed(-probe.activation.abs().sum(0), probe)


def test_chosen_cut_is_marked_in_the_chart(visit):
    app = visit(look="overlay-inferno-55-30", samples="coffee")
    assert [shape["x0"] for shape in chart(app)["layout"]["shapes"]] == [30]
    assert any("at the cut, 30% removed" in text.value for text in app.markdown)
    assert not chart(visit(samples="coffee"))["layout"].get("shapes")


def nothing_chosen(app, count):
    """Says so much, and chooses when asked."""
    [info] = app.info
    assert info.value.count("Choose") == count
    assert not drawn(app)
    [choose] = [button for button in app.button if button.label == "Choose for me"]
    choose.click()
    settle(app.run())
    assert not app.info
    assert drawn(app)
    assert not link(app).keys() & {"samples", "methods"}


def test_no_method_and_no_picture_are_explained(visit):
    app = visit()
    for family in ("gradients", "references"):
        app.button_group(key=f"widget methods.{family}").set_value([])
    app.button_group(key="widget samples").set_value([])
    nothing_chosen(settle(app.run()), 2)


@pytest.mark.parametrize("query", [{"samples": ""}, {"methods": ""}, {"samples": "", "methods": ""}])
def test_a_link_without_a_method_or_a_picture_is_explained(visit, query):
    nothing_chosen(visit(**query), len(query))


def test_session_state_holds_no_maps_and_no_models(visit):
    app = visit()
    for value in app.session_state._state.filtered_state.values():
        assert not isinstance(value, np.ndarray | Image.Image)
        assert "Tensor" not in repr(value)


def test_few_objects_are_looked_through_for_garbage_after_a_run(visit):
    """Of hundreds of thousands, which are imported."""
    visit()
    gc.collect()
    assert len(gc.get_objects()) < gc.get_freeze_count()
