"""The quality of methods on the page: what its choice sets, what wins over it, and what it is said to cost."""

import re

import pytest
from pages import drawn, link, open_page, settle
from torch import nn

from explorer import Backbone, Opaque, Preprocessing
from explorer.ui.state import service

pytestmark = pytest.mark.usefixtures("furnished")
CHANNELS, COPIES = "ss-cam.channels", "ss-cam.samples"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A network of eight channels, whose passes cost next to nothing, in the place of a large one."""
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    seen = Preprocessing(64, (64, 64), "bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    network = Backbone("alexnet", nn.Sequential(Opaque(trunk), Opaque(head)), seen, labels=("a", "b", "c"))
    monkeypatch.setitem(service().engine._own, "alexnet", network)


def visit(**query):
    return open_page("compare", **{"backbone": "alexnet"} | query)


def choose(app, quality):
    app.button_group(key="widget quality").set_value(quality)
    return settle(app.run())


def budget(app):
    """What the widgets say of channels and noisy copies."""
    return app.number_input(key=f"widget {CHANNELS}").value, app.slider(key=f"widget {COPIES}").value


def maps(app):
    return [data["values"] for data in drawn(app)]


def costs(app):
    [text] = [caption.value for caption in app.caption if "forward passes a picture" in caption.value]
    return text


QUICK, STANDARD, PAPER = (128, 4), (256, 35), (0, 35)


def test_a_quality_sets_the_options_and_the_link():
    app = visit(methods="ss-cam")
    assert budget(app) == STANDARD
    assert "quality" not in link(app)
    for quality, expected in (("paper", PAPER), ("quick", QUICK)):
        app = choose(app, quality)
        assert budget(app) == expected
        assert link(app).items() >= {"quality": quality, "methods": "ss-cam"}.items()
        assert not {CHANNELS, COPIES} & link(app).keys()
        again = visit(**link(app))
        assert budget(again) == expected
        assert maps(again) == maps(app)
    app = choose(app, "standard")
    assert budget(app) == STANDARD
    assert "quality" not in link(app)


def test_an_option_that_is_set_wins_until_another_quality_is_chosen():
    app = choose(visit(methods="ss-cam"), "quick")
    app.slider(key=f"widget {COPIES}").set_value(11)
    app.number_input(key="widget ss-cam.seed").set_value(3)
    settle(app.run())
    assert link(app).items() >= {"quality": "quick", COPIES: "11", "ss-cam.seed": "3"}.items()
    again = visit(**link(app))
    assert budget(again) == (128, 11)
    assert maps(again) == maps(app)
    again = choose(again, "paper")
    assert budget(again) == PAPER
    assert COPIES not in link(again)
    assert link(again)["ss-cam.seed"] == "3"


def test_a_quality_holds_for_methods_that_are_chosen_later():
    """What a link said of them before is not of this quality."""
    app = visit(methods="random", **{"ss-cam__samples": "7"})
    assert link(app)[COPIES] == "7"
    app = choose(app, "paper")
    assert COPIES not in link(app)
    app.button_group(key="widget methods.masking").set_value(["ss-cam"])
    settle(app.run())
    assert budget(app) == PAPER


def test_each_quality_says_what_it_costs_before_it_is_chosen():
    """A pass for each copy of each of the eight channels, the first one, and ten of calibration."""
    app = visit(methods="ss-cam")
    assert "About 291 forward passes a picture" in costs(app)
    assert re.search(r"Quick 43\b.*, Standard 291\b.*, Paper 291\b", costs(app))
    assert "Quick" not in costs(visit(methods="random"))


def test_a_wall_says_what_it_costs():
    both = {"methods": "random,fake-cam", "samples": "chelsea,coffee"}
    walls = {caption.value.partition(" (")[0].rstrip(".") for caption in visit(**both).caption}
    assert "4 maps, about 44 forward passes" in walls
    walls = {
        caption.value.partition(" (")[0].rstrip(".") for caption in visit(**both, columns="classes").caption
    }
    assert "8 maps, about 88 forward passes" in walls
    assert not any("maps, about" in caption.value for caption in visit(methods="random,fake-cam").caption)


def test_a_quality_that_is_not_known_gives_way_to_the_usual_one():
    app = visit(methods="ss-cam", quality="best")
    assert budget(app) == STANDARD
    assert any("quality" in warning.value for warning in app.warning)
