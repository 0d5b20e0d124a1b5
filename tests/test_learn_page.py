"""The Learn page, without a browser: every lesson, its numbers against the engine's, and its link."""

import re

import pytest
from pages import control, drawn, link, open_page, settle

from explorer import METHODS, Engine, Request, images
from explorer.metrics import METRICS
from explorer.ui.learn import wanted
from explorer.ui.lessons import LESSONS

CHELSEA = images.sample("chelsea")
CONTROLS = {
    1: ("selectbox", "class.chelsea"),
    2: ("slider", "learn.channel"),
    3: ("select_slider", "learn.added"),
    4: ("button_group", "learn.layer.efficientnet_lite0"),
    5: ("slider", "learn.mask"),
    6: ("select_slider", "learn.removed"),
    7: ("slider", "learn.reference"),
    8: ("slider", "learn.cut"),
    10: ("button_group", "learn.metric"),
}


@pytest.fixture
def visit(furnished):
    def visit(lesson=None, **query):
        asked = {} if lesson is None else {"lesson": str(lesson)}
        return open_page("learn", library="on-the-fly", **asked, **query)

    return visit


def formulas(app):
    return " ".join(text.value for text in app.latex)


def said(app):
    return " ".join(text.value for text in [*app.markdown, *app.caption])


def html(app):
    return " ".join(element.proto.body for element in app.get("html"))


def control_of(app, number):
    return control(app, *CONTROLS[number])


def lesson_title(app):
    return next(header.value for header in app.header if re.match(r"\d+\. ", header.value))


@pytest.mark.parametrize("number", range(1, 11))
def test_every_lesson(visit, number):
    app = visit(number)
    lesson = LESSONS[number - 1]
    assert not app.error
    assert not app.warning
    assert lesson_title(app) == f"{number}. {lesson.title}"
    assert app.latex[0].value.strip("$\n ") == lesson.formula
    assert len(app.latex) == 2, "the formula with its numbers"
    assert f"**Try it.** {lesson.task}" in said(app)
    assert f"[{lesson.paper.title}]({lesson.paper.link})" in said(app)
    if number in CONTROLS:
        assert control_of(app, number)
    else:
        [film] = drawn(app, "film")
        assert len(film["frames"]) == len(film["chances"]) == 51
    assert all(data["alt"] for kind in ("photo", "map", "film") for data in drawn(app, kind))
    pictures = re.findall(r"<img[^>]*>", html(app))
    assert all(re.search(r'alt="[^"]+"', picture) for picture in pictures)
    tables = re.findall(r"<table[^>]*>", html(app))
    assert all(re.search(r'aria-label="[^"]+"', table) for table in tables)
    assert drawn(app, "photo")
    assert drawn(app) or number in (1, 10)


@pytest.mark.parametrize("value", ["0", "11", "-1", "1.5", "<script>", "9" * 30, "٣", "../../etc/passwd"])
def test_hostile_lesson_numbers_give_the_first(visit, value):
    app = visit(value)
    assert lesson_title(app) == "1. What the network sees"
    [warning] = app.warning
    assert "lesson" in warning.value
    assert "lesson" not in app.query_params


def test_every_channel_says_its_weight_for_the_class(visit, original):
    """Those of the classifier itself, where one linear layer follows the means."""
    classifier = original("efficientnet_lite0").classifier.weight.detach()
    app = visit(2, class__chelsea="285")
    found = re.findall(r"\d+: channel (\d+)<.*?weight ([+-]\d+\.\d\d)", html(app), re.DOTALL)
    assert len(found) == 24
    assert [weight for _, weight in found] == [f"{float(classifier[285, int(one)]):+.2f}" for one, _ in found]


def test_the_link_restores_lesson_mode_and_control(visit):
    app = visit(2, present="yes")
    control_of(app, 2).set_value(7)
    settle(app.run())
    wished = {"lesson": "2", "present": "yes", "learn.channel": "7", "library": "on-the-fly"}
    assert link(app).items() >= wished.items()
    again = open_page("learn", **{key.replace(".", "__"): value for key, value in link(app).items()})
    assert control_of(again, 2).value == 7
    assert again.toggle(key="widget present").value
    assert drawn(again) == drawn(app)
    [data] = drawn(again, "clicker")
    assert data == {"kind": "clicker", "lesson": 2, "last": 10, "title": "2. Activation maps"}


def test_buttons_and_list_move(visit):
    def button(name):
        return next(one for one in app.button if one.label == name)

    app = visit()
    assert button("Back").disabled
    settle(button("Next").click().run())
    assert lesson_title(app) == "2. Activation maps"
    assert link(app)["lesson"] == "2"
    control(app, "selectbox", "lesson").set_value(6)
    settle(app.run())
    assert lesson_title(app) == "6. SHAP and LIFT-CAM: fair shares"
    settle(button("Back").click().run())
    assert lesson_title(app).startswith("5. ")
    app = visit(10)
    assert button("Next").disabled


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ({"lesson": 3}, 3),
        ({"lesson": 3.0}, 3),
        ({"lesson": 99}, None),
        ({"lesson": 2.5}, None),
        ({"lesson": "<b>"}, None),
        ({"lesson": None}, None),
        ({}, None),
        (None, None),
        ("3", None),
    ],
)
def test_what_the_clicker_sends_is_not_trusted(raw, number):
    assert wanted(raw) == number


def test_the_numbers_are_those_of_the_engine(visit):
    engine = Engine()
    prediction = engine.predict(CHELSEA, "efficientnet_lite0")
    chance = float(prediction.probabilities.max())
    assert f"{chance:.3f}" in formulas(visit(1))
    explained = engine.explain(CHELSEA, Request())
    curve = explained.calibration
    app = visit(8)
    control_of(app, 8).set_value(70)
    settle(app.run())
    assert f"{curve.probabilities[7]:.3f}" in formulas(app)
    assert rf"t^\ast = {curve.cut}" in formulas(app)


def test_another_class_is_explained_in_every_lesson(visit):
    app = visit(8, class__chelsea="285")
    explained = Engine().explain(CHELSEA, Request(target=285))
    assert "**Egyptian cat**" in said(app)
    assert f"{explained.calibration.probabilities[5]:.3f}" in formulas(app)


def test_contributions_add_up_on_the_page(visit):
    for value in (4, 9999):
        app = visit(6)
        control_of(app, 6).set_value(value)
        settle(app.run())
        fall, shares = (float(text) for text in re.findall(r"\\mathbf\{([-\d.]+)\}", formulas(app)))
        assert fall == pytest.approx(shares, abs=2e-3)
    assert "add up to the whole difference" in said(app)


def test_fake_cam_is_unmasked(visit):
    app = visit(10)
    assert "Fake-CAM is best" in said(app)
    for metric in ("average-gain", "adcc", "insertion", "deletion"):
        control_of(app, 10).set_value(metric)
        settle(app.run())
        assert METRICS[metric].bad in said(app)
        assert metric in ("insertion", "deletion") or "Fake-CAM is not best" in said(app)


@pytest.mark.parametrize("number", [3, 4])
def test_a_method_that_is_not_defined_says_why(visit, original, number):
    original("squeezenet1_1")
    app = visit(number, backbone="squeezenet1_1")
    assert any("CAM is defined only where" in info.value for info in app.info)
    assert not app.error
    assert len(app.latex) == (1 if number == 3 else 2)


def test_without_a_picture_there_is_a_sample(visit):
    app = visit(1)
    app.button_group(key="widget samples").set_value([])
    settle(app.run())
    assert [data["alt"].split(",")[0] for data in drawn(app, "photo")] == ["chelsea"]
    assert not app.info


def test_only_the_first_picture_and_no_method_of_the_sidebar(visit):
    app = visit(8, samples="coffee,chelsea", methods="eigen-cam")
    assert len(drawn(app, "photo")) == 1
    assert [data["alt"].split(" for ")[0] for data in drawn(app)] == [METHODS["grad-cam"].title]


def test_session_state_holds_no_tensor(visit):
    for value in visit(9).session_state._state.filtered_state.values():
        assert "Tensor" not in repr(value)
        assert "ndarray" not in type(value).__name__
