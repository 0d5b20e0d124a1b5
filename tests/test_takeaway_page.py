"""The section of Compare from which everything on the wall is taken away."""

import io
import json
import zipfile
from dataclasses import replace
from functools import partial

import pytest
from pages import link, open_page, settle

from explorer import Engine, Request, sample
from explorer.compute import Job, State
from explorer.ui.canvas import VIEWS
from explorer.ui.state import service
from explorer.ui.takeaway import _lacking


def taken(app):
    """What was made last, from the server's memory."""
    return service().encoded(app.session_state["taken"]).result


def manifest(packed):
    return json.loads(zipfile.ZipFile(io.BytesIO(packed.archive)).read("manifest.json"))


def press(app):
    [button] = [button for button in app.button if button.label == "Make the bundle"]
    return settle(button.click().run())


def downloads(app):
    return [
        one.proto.label
        for one in app.get("download_button")
        if one.proto.label.startswith(("Bundle", "Figure"))
    ]


@pytest.fixture
def visit(furnished):
    return partial(open_page, "compare")


@pytest.fixture(scope="module")
def engine_explanation():
    return Engine().explain(sample("chelsea"), Request())


def captions(app):
    return " ".join(caption.value for caption in app.caption)


def test_nothing_is_made_before_it_is_asked_for(visit):
    app = visit(methods="grad-cam")
    assert not downloads(app)
    assert "taken" not in app.session_state


def test_a_bundle_that_is_no_longer_held_says_so(visit):
    app = press(visit(methods="grad-cam"))
    service()._encoder.forget(app.session_state["taken"])
    settle(app.run())
    assert not downloads(app)
    assert any("no longer held" in info.value for info in app.info)


def test_it_holds_what_is_on_the_wall_when_the_button_is_pressed(visit):
    app = press(visit(methods="grad-cam,grad-cam++", samples="chelsea,coffee", **{"class__coffee": "504"}))
    first = taken(app)
    assert [label.split(" (")[0] for label in downloads(app)] == ["Bundle", *["Figure"] * 3]
    asked = [
        (e["picture"]["name"], e["method"]["name"], e["class"]["index"])
        for e in manifest(first)["explanations"]
    ]
    assert asked == [
        ("chelsea", "grad-cam", 282),
        ("chelsea", "grad-cam++", 282),
        ("coffee", "grad-cam", 504),
        ("coffee", "grad-cam++", 504),
    ]
    assert "have changed" not in captions(app)
    app.button_group(key="widget samples").set_value(["coffee"])
    settle(app.run())
    assert taken(app) is first
    assert "have changed since" in captions(app)
    app = press(app)
    assert len(manifest(taken(app))["explanations"]) == 2


def test_figures_are_in_it_where_they_are_chosen(visit):
    app = press(visit(methods="grad-cam", metrics="average-drop"))
    [entry] = manifest(taken(app))["explanations"]
    assert [*entry["figures"]["plain"]] == ["average-drop"]


def test_the_figure_has_the_settings_and_the_link_restores_them(visit):
    app = visit(methods="grad-cam")
    app.number_input(key="widget print.cm").set_value(8.5)
    app.number_input(key="widget print.dpi").set_value(100)
    app.button_group(key="widget print.parts").set_value(["photograph"])
    app = press(app.run())
    width = int.from_bytes(taken(app).figure["png"][16:20])
    assert width == pytest.approx(8.5 / 2.54 * 100, abs=1)
    chosen = {"methods": "grad-cam", "print.cm": "8.5", "print.dpi": "100", "print.parts": "photograph"}
    assert link(app) == chosen
    again = press(visit(**chosen))
    assert taken(again) is taken(app)


def test_the_scale_of_the_page_is_that_of_the_figure(visit):
    own = taken(press(visit(methods="grad-cam", samples="chelsea,china")))
    shared = taken(
        press(visit(methods="grad-cam", samples="chelsea,china", look="overlay-inferno-55-None-shared"))
    )
    assert shared.figure["svg"] != own.figure["svg"]
    text = zipfile.ZipFile(io.BytesIO(shared.archive)).read("README.md").decode()
    highest = max(entry["extent"][1] for entry in manifest(shared)["explanations"])
    assert f"- grad-cam: from 0 to {highest:.3g}\n" in text


def test_the_view_of_the_page_is_that_of_the_figure(visit):
    figures = {}
    for view in VIEWS:
        app = press(visit(methods="grad-cam", look=f"{view}-inferno-55-60"))
        figures[view] = taken(app).figure["png"]
        assert ("show a wipe as an overlay" in captions(app)) == (view == "wipe")
    assert figures.pop("wipe") == figures["overlay"]
    assert len({*figures.values()}) == 5


def test_what_cannot_be_drawn_is_said(visit):
    app = visit(methods="grad-cam,grad-cam++")
    app.number_input(key="widget print.cm").set_value(1.0)
    app = press(app.run())
    assert any("do not fit into 1.0 cm" in error.value for error in app.error)
    assert not downloads(app)
    app.number_input(key="widget print.cm").set_value(17.0)
    assert downloads(press(app.run()))


def test_what_is_not_ready_is_named(engine_explanation):
    """Map, then calibration, then figures."""
    job, measured = Job(("explanation",), lambda _: None, 0), Job(("figures",), lambda _: None, 0)
    assert _lacking(job, None, True) == "the map"
    job.deliver(replace(engine_explanation, calibration=None))
    assert _lacking(job, None, False) == "the calibration"
    assert _lacking(job, measured, True) == "the calibration and the figures"
    job.state = State.DONE
    assert _lacking(job, measured, True) == "the figures"
    assert _lacking(job, None, False) == ""


def test_it_is_said_which_links_restore_what(visit):
    app = visit(methods="grad-cam")
    assert "the samples (Chelsea)" in captions(app)
    buffer = io.BytesIO()
    sample("coffee").image.save(buffer, "JPEG")
    app.file_uploader[0].set_value([("mine.jpg", buffer.getvalue(), "image/jpeg")])
    settle(app.run())
    assert "your uploads (mine.jpg) only while this server has room" in captions(app)


def test_session_state_holds_no_files(visit):
    app = press(visit(methods="grad-cam"))
    for value in app.session_state._state.filtered_state.values():
        assert not isinstance(value, bytes)
        assert "Packed" not in repr(value)
