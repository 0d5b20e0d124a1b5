"""The qualities of methods: what the papers state, the ranges, and the options that win over them."""

from dataclasses import fields, replace
from inspect import signature

import pytest
import torchcam.methods

import explorer
from explorer import sample
from explorer.declaration import QUALITIES, OptionError, parse
from explorer.methods import METHODS, find

PAPER = {
    "score-cam": {"channels": 0},  # a pass for each channel
    "ss-cam": {"channels": 0, "samples": 35},
    "is-cam": {"channels": 0, "steps": 10},
    "lime-cam": {"samples": 0},  # released: as many samples as channels
    "opti-cam": {"iterations": 100, "rate": 0.1},  # the paper's settings; the released code has 50
    "sig-cam": {"iterations": 15, "points": 20},  # the copy in the code of Libra-CAM
    "libra-cam": {"size": 30},  # released: ref_count
}
"""What the papers or their released codes state of the options that decide the cost."""


@pytest.mark.parametrize("name", METHODS)
def test_every_quality_makes_a_method_and_changes_numbers_only(name):
    method = METHODS[name]
    assert method.preset("standard") == method()
    decided = method.budget("standard")
    for quality in QUALITIES:
        made = method.preset(quality)
        assert replace(method(), **{option: getattr(made, option) for option in decided}) == made
    for item in fields(method):
        assert item.name not in decided or (type(item.default) is int and item.name != "seed")


@pytest.mark.parametrize("name", METHODS)
def test_paper_is_what_the_papers_state(name):
    paper = METHODS[name].preset("paper")
    stated = PAPER.get(name, {})
    assert {option: getattr(paper, option) for option in stated} == stated
    assert paper == METHODS[name](**stated)


def test_torchcam_has_the_numbers_of_the_papers_too():
    for name, rival, option in (("ss-cam", "SSCAM", "samples"), ("is-cam", "ISCAM", "steps")):
        default = signature(getattr(torchcam.methods, rival)).parameters["num_samples"].default
        assert getattr(METHODS[name].preset("paper"), option) == default


@pytest.mark.parametrize("name", METHODS)
def test_quick_costs_less_where_standard_costs_much_and_paper_never_less(name, wide):
    quick, standard, paper = (METHODS[name].preset(quality).passes(wide) for quality in QUALITIES)
    assert quick <= standard <= paper
    assert standard <= 50 or quick <= standard / 2 + 1


@pytest.fixture
def wide(lite0):
    return lite0.default_layer


def test_a_written_option_wins():
    assert parse("opti-cam", find, "quick").iterations < 100
    assert parse("opti-cam:iterations=20", find, "paper").iterations == 20
    assert parse("sig-cam:points=7", find, "quick") == find("sig-cam").preset("quick", points=7)
    assert parse("ss-cam:samples=3", find) == find("ss-cam")(samples=3)
    with pytest.raises(OptionError):
        find("opti-cam").preset("paper", iterations=0)


def test_what_a_quality_makes_is_written_with_its_options():
    for name in METHODS:
        for quality in QUALITIES:
            made = METHODS[name].preset(quality)
            assert parse(str(made), find) == made


def test_a_method_by_its_name_follows_the_quality_in_python():
    for quality, size in (("quick", 10), ("paper", 30)):
        made = explorer.explain(sample("chelsea"), method="libra-cam", library="on-the-fly", quality=quality)
        assert made.request.method.size == size
