"""What the browser is given of a map, without a browser."""

import base64
from dataclasses import asdict

import numpy as np
import pytest
from pages import drawn, link, open_page, settle

from explorer import Request, images
from explorer.compute import Engine
from explorer.methods.base import from_signed
from explorer.methods.gradient import GradCAM
from explorer.render.colour import DIVERGING, diverging_levels, diverging_table
from explorer.ui.canvas import SCALES, VIEWS, Look

pytestmark = pytest.mark.usefixtures("home")


def levels(payload):
    return np.frombuffer(base64.b64decode(payload), np.uint8).astype(int)


def enlarged(values, size):
    """Bilinear, pixel centres aligned, one output pixel after the other."""
    last = np.array(values.shape) - 1
    grown = np.empty(size)
    for place in np.ndindex(size):
        at = np.clip((np.array(place) + 0.5) * values.shape / size - 0.5, 0, last)
        (top, left), (down, right) = at.astype(int), at - at.astype(int)
        bottom, far = np.minimum([top + 1, left + 1], last)
        upper = (1 - right) * values[top, left] + right * values[top, far]
        lower = (1 - right) * values[bottom, left] + right * values[bottom, far]
        grown[place] = (1 - down) * upper + down * lower
    return grown


def test_the_signed_map_and_the_curve_are_sent_when_they_are_needed():
    app = open_page("compare", methods="grad-cam", samples="china")
    explanation = Engine().explain(images.sample("china"), Request(method=GradCAM()))
    curve = explanation.calibration
    [wall, at_cut] = drawn(app)
    assert wall["signed"] is None
    assert wall["method"] == at_cut["method"] == "Grad-CAM"
    assert wall["extent"] == at_cut["extent"] == explanation.attribution.extent.tolist()
    assert [removed for removed, _ in wall["curve"]] == list(curve.removed)
    assert [chance for _, chance in wall["curve"]] == pytest.approx(list(curve.probabilities), abs=1e-5)

    app.session_state["look bar"] = {"look": asdict(Look("signed"))}
    settle(app.run())
    assert link(app)["look"] == "signed-inferno-55-None-own"
    [wall, at_cut] = drawn(app)
    assert at_cut["signed"] is None
    expected = enlarged(explanation.attribution.signed.numpy(), explanation.attribution.saliency.shape)
    reach = abs(expected).max()
    assert wall["signed"]["reach"] == pytest.approx(reach, rel=1e-4)
    assert wall["signed"]["negative"]
    assert expected.min() < 0
    shown = (levels(wall["signed"]["values"]) - 127) / 127 * reach
    np.testing.assert_allclose(shown, expected.ravel(), atol=reach * (0.5 / 127 + 1e-3))

    again = open_page("compare", **link(app))
    assert drawn(again) == drawn(app)
    app.session_state["look bar"] = {"look": asdict(Look())}
    settle(app.run())
    assert [data["signed"] for data in drawn(app)] == [None, None]


def test_where_all_speaks_against_a_class_the_signed_map_shows_it(monkeypatch):
    monkeypatch.setattr(
        GradCAM, "__call__", lambda self, probe, target, _: from_signed(-probe.activation.abs().sum(0), probe)
    )
    app = open_page("compare", methods="grad-cam", samples="motorcycle", look="signed-inferno-55-None")
    assert "look at the signed map" in app.warning[0].value
    [data] = drawn(app)
    assert levels(data["signed"]["values"]).max() <= 127
    assert levels(data["signed"]["values"]).min() == 0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_and_scale_stands_in_the_link(view, scale):
    look = Look(view, "viridis", 40, 65, scale)
    assert Look.from_text(look.to_text()) == look


def test_a_link_without_a_scale_gives_each_map_its_own():
    assert Look.from_text("heat-viridis-40-65") == Look("heat", "viridis", 40, 65, "own")
    assert Look.from_text("heat-viridis-40-65-none") is None


def test_zero_is_the_middle_of_the_signed_colours():
    values = np.array([[-3, -1.5, 0, 0.75, 3]], np.float32)
    rows, reach = diverging_levels(values)
    assert reach == 3
    low, middle, high = np.array(DIVERGING)
    naive = [low, (low + middle) / 2, middle, middle + (high - middle) / 4, high]
    np.testing.assert_allclose(diverging_table()[rows[0]], naive, atol=1.5)
    assert diverging_levels(np.zeros((1, 2), np.float32))[0].tolist() == [[127, 127]]


def test_what_the_cut_does_to_the_class_is_coloured_by_its_sign():
    app = open_page("compare", methods="grad-cam,constant", samples="coffee", look="overlay-inferno-55-0")
    engine, picture = Engine(), images.sample("coffee")
    lost = engine.explain(picture, Request(method=GradCAM())).calibration
    drop = f":red[{lost.probabilities[0] - lost.probability:+.3f}] at the cut, 0% removed"
    [of_gradients, of_all] = [text.value for text in app.markdown if " at the cut, " in text.value]
    assert drop in of_gradients
    assert "** +0.000 at the cut, 0% removed" in of_all
