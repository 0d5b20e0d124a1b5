"""What a page waits for is given up by a button and resumed by another, without a browser."""

import threading

import pytest
from pages import drawn, open_page, settle

from explorer.compute import Engine, State
from explorer.compute.cache import LRU
from explorer.methods import METHODS
from explorer.methods.gradient import GradCAM
from explorer.ui import takeaway
from explorer.ui.state import service

LONG = 60  # seconds after which a wait is a hang

pytestmark = pytest.mark.usefixtures("furnished")


@pytest.fixture
def held(monkeypatch):
    """Has a function wait, when it is called, until the test opens the gate; counts its calls."""

    class Gate:
        def __init__(self, owner, name):
            self.calls, self.begun, self.open = 0, threading.Event(), threading.Event()
            work = getattr(owner, name)

            def wait(*arguments, **named):
                self.calls += 1
                self.begun.set()
                assert self.open.wait(LONG)
                return work(*arguments, **named)

            monkeypatch.setattr(owner, name, wait)

    return Gate


def button(app, label):
    [found] = [button for button in app.button if button.label == label]
    return found


def labels(app):
    return [button.label for button in app.button]


def stop_at(gate, app, worker):
    """Stops while the work waits at the gate, and lets it come to its end."""
    assert gate.begun.wait(LONG)
    app.run()
    [job] = worker._jobs.values()
    assert app.get("progress")
    button(app, "Stop").click().run()
    assert not app.exception
    assert not app.get("progress")
    assert "Stop" not in labels(app)
    gate.open.set()
    assert job.wait(LONG)
    assert job.state is State.CANCELLED
    return settle(app.run())


def test_maps_are_given_up_and_resumed(held, monkeypatch):
    whole = open_page("compare", methods="grad-cam,random", samples="rocket", metrics="")
    expected = [data["values"] for data in drawn(whole)]
    monkeypatch.setattr(service()._device, "_finished", LRU(256))
    gate, made = held(METHODS["random"], "__call__"), held(GradCAM, "__call__")
    made.open.set()
    app = open_page("compare", methods="grad-cam", samples="rocket", metrics="")
    app.button_group(key="widget methods.controls").set_value(["random"]).run()
    app = stop_at(gate, app, service()._device)
    assert "Stopped" in [text.value for text in app.markdown]  # below its map, whose cut was not measured
    assert any(caption.value.startswith("Stopped:") for caption in app.caption)
    assert gate.calls == 1
    settle(button(app, "Go on").click().run())
    assert [data["values"] for data in drawn(app)] == expected
    assert not {"Stop", "Go on"} & {*labels(app)}
    assert "Stopped" not in [text.value for text in (*app.markdown, *app.caption)]
    assert made.calls == 1


def test_what_is_not_made_says_so_and_what_is_chosen_later_is_made(held):
    gate = held(METHODS["constant"], "__call__")
    app = open_page("compare", methods="grad-cam", samples="rocket", metrics="")
    app.button_group(key="widget methods.controls").set_value(["constant"]).run()
    assert gate.begun.wait(LONG)
    app.run()
    button(app, "Stop").click().run()
    assert "Stopped" in [caption.value for caption in app.caption]
    assert [data["alt"].split(" map ")[0] for data in drawn(app)] == ["Grad-CAM"] * 2
    gate.open.set()
    app.button_group(key="widget methods.controls").set_value(["constant", "centre-gaussian"])
    settle(app.run())
    assert any(data["alt"].startswith("Centre Gaussian map") for data in drawn(app))
    assert "Go on" in labels(app)


def test_a_sanity_check_is_given_up_and_resumed(held):
    gate = held(Engine, "randomised")
    app = open_page("faithfulness", methods="grad-cam", controls="no", samples="rocket")
    button(app, "Run the sanity check").click().run()
    app = stop_at(gate, app, service()._device)
    galleries = [element.proto.body for element in app.get("html") if "Randomis" in element.proto.body]
    assert not galleries
    assert any("Stopped" in element.proto.body for element in app.get("html"))
    settle(button(app, "Go on").click().run())
    assert any("Random after" in element.proto.body for element in app.get("html"))


def test_a_bundle_is_given_up_and_made_when_asked_again(held):
    gate = held(takeaway, "pack")
    app = open_page("compare", methods="grad-cam", samples="rocket", metrics="")
    button(app, "Make the bundle").click().run()
    app = stop_at(gate, app, service()._encoder)
    assert "taken" not in app.session_state
    assert "Go on" not in labels(app)
    settle(button(app, "Make the bundle").click().run())
    assert service().encoded(app.session_state["taken"]).state is State.DONE
