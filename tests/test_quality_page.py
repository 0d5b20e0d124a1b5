"""The quality of methods on the page: what its choice sets, what wins over it, and what it is said to cost."""

import re

import pytest
from pages import control, drawn, link, open_page, settle
from torch import nn

from explorer import Backbone, Preprocessing
from explorer.ui.state import service

pytestmark = pytest.mark.usefixtures("furnished")
CHANNELS, COPIES = "ss-cam.channels", "ss-cam.samples"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A network of four channels and then eight, whose passes cost next to nothing, in the place of a large one."""
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )
    seen = Preprocessing(64, (64, 64), "bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    network = Backbone("mnasnet1_3", model, seen, labels=("a", "b", "c"))
    monkeypatch.setitem(service().engine._own, "mnasnet1_3", network)


def visit(**query):
    return open_page("compare", **{"backbone": "mnasnet1_3"} | query)


def choose(app, quality):
    app.button_group(key="widget quality").set_value(quality)
    return settle(app.run())


def budget(app):
    """What the widgets say of channels and noisy copies."""
    return control(app, "number_input", CHANNELS).value, control(app, "slider", COPIES).value


def maps(app):
    return [data["values"] for data in drawn(app)]


def captions(app):
    """Without the seconds, which depend on the machine."""
    return [re.sub(r" \(.*?\)", "", caption.value) for caption in app.caption]


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
    control(app, "slider", COPIES).set_value(11)
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
    told = captions(visit(methods="ss-cam", metrics=""))
    assert "About 291 forward passes a picture." in told
    assert "Passes a picture: Quick 43, Standard 291, Paper 291." in told
    assert not any("Quick" in text for text in captions(visit(methods="random")))


def test_a_wall_says_what_it_costs():
    both = {"methods": "random,fake-cam", "samples": "chelsea,coffee", "metrics": ""}
    assert "4 maps, about 44 forward passes." in captions(visit(**both))
    assert "8 maps, about 88 forward passes." in captions(visit(**both, columns="classes"))
    assert not any("maps, about" in text for text in captions(visit(methods="random,fake-cam")))


def test_the_figures_of_a_wall_cost_their_passes_too():
    """The map again, ten levels, and of ADCC the map of the masked picture, plain and calibrated."""
    figures = 1 + 10 + 1 + (1 + 10)
    both = {"methods": "random,fake-cam", "metrics": "average-drop,adcc"}
    told = captions(visit(**both))
    assert f"About 22 forward passes a picture, with the figures {2 * (11 + figures)}." in told
    told = captions(visit(**both, samples="chelsea,coffee"))
    assert f"4 maps and their figures, about {4 * (11 + figures)} forward passes." in told


def test_the_layers_of_a_wall_cost_what_their_channels_do():
    told = captions(visit(methods="score-cam", columns="layers", metrics=""))
    assert f"2 maps, about {(1 + 4 + 10) + (1 + 8 + 10)} forward passes." in told


def test_the_networks_of_a_wall_cost_what_their_own_channels_do(monkeypatch):
    """Of a network that was never loaded nothing is known yet."""
    other = nn.Sequential(
        nn.Conv2d(3, 5, 9, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    )
    seen = service().engine.backbone("mnasnet1_3").preprocessing
    network = Backbone("mnasnet1_0", other, seen, labels=("a", "b", "c"))
    monkeypatch.setitem(service().engine._own, "mnasnet1_0", network)
    wall = {"methods": "score-cam", "columns": "networks", "metrics": "", "networks": "mnasnet1_3,mnasnet1_0"}
    app = visit(**wall).run()
    assert f"2 maps, about {(1 + 8 + 10) + (1 + 5 + 10)} forward passes." in captions(app)
    del service().engine._networks["mnasnet1_0"]
    told = captions(app.run())
    assert "2 maps, about 19 forward passes, and those of mnasnet1\\_0, counted once it is loaded." in told


def test_a_quality_that_is_not_known_gives_way_to_the_usual_one():
    app = visit(methods="ss-cam", quality="best")
    assert budget(app) == STANDARD
    assert any("quality" in warning.value for warning in app.warning)
