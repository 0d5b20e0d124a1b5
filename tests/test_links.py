"""Every control of every page says what it does, and set to something else it is restored by the link that results."""

import re
from types import SimpleNamespace

import pytest
import streamlit
from pages import link, open_page, settle
from streamlit.runtime.state.common import TESTING_KEY
from streamlit.testing.v1.element_tree import Block

from explorer.methods import METHODS
from explorer.ui.lab import SECTIONS
from explorer.ui.lessons import LESSONS
from explorer.ui.view import View

pytestmark = pytest.mark.usefixtures("furnished")

NOTHING = {"samples": ""}
TWO = {"methods": "grad-cam,libra-cam", "libra-cam__size": "5"}
PAGES = {
    "all methods": ("compare", NOTHING | {"methods": ",".join(METHODS)}),
    "maps": ("compare", {"methods": "grad-cam,eigen-cam", "two": "yes"}),
    "layers": ("compare", {"methods": "grad-cam", "columns": "layers"}),
    "classes": ("compare", {"methods": "grad-cam", "columns": "classes"}),
    "networks": ("compare", NOTHING | {"columns": "networks"}),
    "faithfulness": ("faithfulness", TWO),
    **{f"lab, {section}": ("lab", TWO | {"section": section}) for section in SECTIONS},
    "evaluate": ("evaluate", NOTHING),
    "libraries": ("libraries", NOTHING),
    "model": ("model", NOTHING),
    **{f"lesson {number}": ("learn", {"lesson": str(number)}) for number in range(1, len(LESSONS) + 1)},
}
KINDS = (
    *("button_group", "multiselect", "number_input", "radio", "select_slider", "selectbox", "slider"),
    *("text_input", "toggle"),
)
OTHERS = {
    "name ": "of what Build and Keep it will make",
    "import name": "of what Import will make",
    "edit ": "the tool in hand; the edit that it has made is in the link",
}
"""Beginnings of the keys of what is no part of the view."""
DECIDE = (
    "backbone",
    "layer.",
    "library",
    "methods.",
    "samples",
    "columns",
    "section",
    "lesson",
    "data",
    "made of",
)
"""Beginnings of the keys of what decides which other controls there are."""


def controls(app):
    """By key, what is part of the view."""
    found = {element.key or element.label: element for kind in KINDS for element in app.get(kind)}
    assert [key for key in found if not key.startswith(("widget ", *OTHERS))] == []
    return {re.sub(r"^widget | \d+$", "", key): one for key, one in found.items() if "widget" in key}


def values(app):
    return {key: control.value for key, control in controls(app).items()}


def change(control):
    """Sets another value, by what the browser sends: the text of an option, or a number."""
    if control.type == "toggle":
        control.set_value(not control.value)
    elif control.type in ("number_input", "slider"):
        step = control.step or 1
        up = control.min if control.value is None else control.value + step
        control.set_value(up if up <= control.max else control.value - step)
    elif control.type == "text_input":
        control.set_value("0.25, 0.5, 0.75")
    else:
        store = control.root.session_state[TESTING_KEY]
        said = store[control.id]
        several = isinstance(control.value, list)
        values = control.value if several else [control.value]
        chosen = [said(value) for value in values if value is not None]
        left = [option for option in control.options if option not in chosen]
        store[control.id] = str
        if not several:
            control.set_value(left[0])
        elif len(chosen) > 1:
            control.set_value(chosen[:-1])
        else:
            control.set_value([*chosen, left[0]])


def changeable(app):
    return {
        key: control
        for key, control in controls(app).items()
        if not getattr(control, "disabled", False) and len(getattr(control, "options", "ab")) > 1
    }


def unexplained(block):
    """The labels of the widgets without help, of those that Streamlit can give one."""
    found = []
    for child in block.children.values():
        if isinstance(child, Block):
            found += unexplained(child)
        proto = child.proto.popover if child.type == "popover" else child.proto
        known = {field.name for field in proto.DESCRIPTOR.fields} if proto is not None else set()
        if {"help", "id"} <= known and not proto.help:
            found.append(proto.label)
    return found


def test_what_comes_later_says_what_it_does():
    app = open_page("compare", methods="grad-cam", what__chelsea="grey:0.1,0.1,0.9,0.9")
    [make] = [button for button in app.button if button.label == "Make the bundle"]
    settle(make.click().run())
    assert "Figure (PDF)" in [one.proto.label for one in app.get("download_button")]
    assert unexplained(app._tree) == []


@pytest.mark.parametrize("case", PAGES)
def test_all_that_stand_together(case):
    page, query = PAGES[case]
    app = open_page(page, **query)
    assert unexplained(app._tree) == []
    before = values(app)
    turned = [key for key in changeable(app) if not key.startswith(DECIDE)]
    for key in turned:
        change(controls(app)[key])
    settle(app.run())
    now = values(app)
    assert [key for key in turned if key in now and now[key] == before[key]] == []
    restores(page, app)


@pytest.mark.parametrize("page", ["compare", "evaluate", "libraries"])
def test_each_that_decides_which_others_there_are(page, original):
    original("squeezenet1_1")
    query = NOTHING | {"methods": "grad-cam,libra-cam"}
    for key in changeable(open_page(page, **query)):
        if key.startswith(DECIDE) and key != "samples":
            app = open_page(page, **query)
            before = values(app)
            change(controls(app)[key])
            settle(app.run())
            assert values(app) != before
            restores(page, app)


def restores(page, app):
    again = open_page(page, **link(app))
    assert not app.warning
    assert values(again) == values(app)
    assert link(again) == link(app)


def test_the_link_is_right_where_the_browser_has_not_yet_taken_over_the_last_one(monkeypatch):
    """Of 20, 19 and 20 the browser still says the first when the last is asked for."""
    told = []
    behind = SimpleNamespace(to_dict=lambda: {"size": "20"}, from_dict=told.append)
    monkeypatch.setattr(streamlit, "query_params", behind)
    kept = View(asked={})
    for size in (20, 19, 20, 20):
        kept.keep("size", size, 30)
        kept.publish()
    assert told == [{"size": "19"}, {"size": "20"}]
