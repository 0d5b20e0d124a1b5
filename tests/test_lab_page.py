"""The Libra lab, without a browser: its numbers against the engine's, and what stands in its link."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from pages import chart, drawn, link, open_page, settle
from PIL import Image

from explorer import METRICS, Request, images
from explorer.calibration import FINE_LEVELS, PAPER_LEVELS
from explorer.compute import Convergence, Engine, Linearity, all_references
from explorer.convergence import ENOUGH, Spread
from explorer.library import Recipe, build, textures
from explorer.methods.libra import LibraCAM
from explorer.ui import preferences, references
from explorer.ui.growth import verdict
from explorer.ui.view import View

ASKED = Request(method=LibraCAM(size=9), library="on-the-fly")
CHELSEA = images.sample("chelsea")


@pytest.fixture(scope="module")
def engine():
    return Engine()


@pytest.fixture
def visit(furnished):
    def visit(section=None, **query):
        query = {"methods": "libra-cam", "library": "on-the-fly", "libra-cam__size": "9", **query}
        return open_page("lab", **query, **({"section": section} if section else {}))

    return visit


def said(app):
    return " ".join(text.value for text in [*app.markdown, *app.caption])


def cards(app):
    [data] = drawn(app, "references")
    return data["cards"]


def used(engine, request=ASKED):
    return engine.explain(CHELSEA, request).references


def names(engine, request=ASKED):
    found = used(engine, request)
    return [found.library.ids[index] for index in found.indices.tolist()]


def test_the_library_size_survives_another_library(visit, engine):
    """A slider with another end is another widget, which began at one reference."""
    cut = engine.backbone("efficientnet_lite0").cut()
    build([cut], Recipe("forty textures", "textures"), textures(40))
    app = visit()
    [library] = [box for box in app.selectbox if box.label == "Reference library"]
    library.set_value("forty textures")
    app = settle(app.run())
    [size] = [slider for slider in app.slider if slider.label == "Libra-CAM: library size"]
    assert (size.value, size.max) == (9, 40)


@pytest.mark.parametrize(
    ("by", "objective", "levels"), [("area", "probability", PAPER_LEVELS), ("value", "logit", FINE_LEVELS)]
)
def test_the_curves_are_those_of_the_engine(visit, engine, by, objective, levels):
    fine = "yes" if levels == FINE_LEVELS else "no"
    app = visit(cuts__by=by, cuts__objective=objective, cuts__fine=fine, cuts__released="yes")
    explanation = engine.explain(CHELSEA, ASKED)
    curve = engine.curve(CHELSEA, explanation, levels, by)
    drawn, released, whole = chart(app)["data"]
    assert (drawn["x"], drawn["y"]) == (
        list(levels),
        pytest.approx(curve.values(objective), abs=1e-3),
    )  # rounding moves pixels over a cut
    best = curve.best(objective)
    assert drawn["marker"]["symbol"].index("star") == best
    assert released["x"] == [(*levels, 100)[best + 1]]
    assert whole["y"] == pytest.approx([curve.whole(objective)] * 2, abs=1e-4)
    sights = engine.at_cut(CHELSEA, explanation, levels[best], by)
    [gallery] = [one.proto.body for one in app.get("html") if '<ul class="cam-gallery' in one.proto.body]
    for sight, encoded in zip(sights, re.findall(r"jpeg;base64,([^\"]+)", gallery), strict=True):
        assert f"probability {100 * sight.probability:.1f}%" in gallery
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))).astype(float)
        assert np.abs(shown - sight.colours).mean() < 4


def test_a_cut_of_the_look_bar_is_applied_by_area(visit, engine):
    app = visit(look="overlay-inferno-55-40")
    assert [shape["x0"] for shape in chart(app)["layout"]["shapes"]] == [40]
    kept, _ = engine.at_cut(CHELSEA, engine.explain(CHELSEA, ASKED), 40, "area")
    assert any(f"probability {100 * kept.probability:.1f}%" in one.proto.body for one in app.get("html"))


def test_references_say_their_gain_and_why_they_are_rejected(visit, engine):
    app, found = visit("references"), used(engine)
    rejection = ASKED.method.rejection(found.gains)
    shown = cards(app)
    assert [card["id"] for card in shown] == names(engine)
    assert [card["kind"] for card in shown] == [
        "kept" if keep else "rejected" for keep in found.kept.tolist()
    ]
    for card, gain, keep in zip(shown, found.gains.tolist(), found.kept.tolist(), strict=True):
        assert f"gain {gain:+.3f}" in card["lines"]
        assert card["lines"][-1] == (
            "kept" if keep else "rejected: no gain" if gain <= 0 else f"rejected: below {rejection.limit:.3f}"
        )
        assert all(picture["jpeg"] and picture["alt"] for picture in card["pictures"])
    assert {card["kind"] for card in shown} == {"kept", "rejected"}, "else this shows little"
    kept, rejected = chart(app)["data"]
    assert sorted(kept["x"] + rejected["x"]) == pytest.approx(sorted(found.gains.tolist()), abs=1e-5)
    assert sorted(line["x0"] for line in chart(app)["layout"]["shapes"]) == pytest.approx(
        sorted([rejection.mean, rejection.limit]), abs=1e-5
    )
    assert f"{int(found.kept.sum())} of 9 references kept" in said(app)


def test_a_link_restores_pins_and_exclusions_until_they_are_forgotten(visit, engine):
    plain = names(engine, all_references(ASKED))
    first, out = plain[6], plain[0]
    app = visit("references", pinned=f"{first},another library's", excluded=out)
    asked = replace(ASKED, pinned=(first, "another library's"), excluded=(out,))
    assert [card["id"] for card in cards(app)] == [*names(engine, asked), out]
    assert (cards(app)[0]["kind"], cards(app)[-1]["kind"]) == ("pinned", "excluded")
    assert [act["pressed"] for act in cards(app)[0]["acts"]] == [True, False]
    assert "2 pinned, 1 excluded" in said(app)
    assert "on-the-fly library · 2 pinned · 1 excluded" in said(app)
    again = visit(
        "references",
        **{key.replace(".", "__"): value for key, value in link(app).items() if key != "section"},
    )
    assert [card["id"] for card in cards(again)] == [card["id"] for card in cards(app)]
    [forget] = [button for button in app.button if button.label.startswith("Forget")]
    settle(forget.click().run())
    assert [card["id"] for card in cards(app)] == plain[:9]
    assert not {"pinned", "excluded"} & link(app).keys()


def test_all_references_excluded_is_said_and_can_be_undone(visit, engine):
    app = visit(excluded=",".join(names(engine, all_references(ASKED))))
    assert any("Every reference is excluded" in error.value for error in app.error)
    [forget] = [button for button in app.button if button.label.startswith("Forget")]
    settle(forget.click().run())
    assert not app.error
    assert "of 9 references kept" in said(app)


@pytest.mark.parametrize("identifier", ["coffee 3", "a,b.jpg", "ü/%2C&=.png", "50%"])
def test_ids_survive_the_link(monkeypatch, identifier):
    one = View(asked={})
    monkeypatch.setattr(preferences, "view", lambda: one)
    preferences.toggle("excluded", "other")
    preferences.toggle("excluded", identifier)
    preferences.toggle("pinned", identifier)
    preferences.toggle("pinned", "third")
    assert (preferences.preferred("pinned"), preferences.preferred("excluded")) == (
        (identifier, "third"),
        ("other",),
    )
    other = View(asked=dict(one.shown))
    monkeypatch.setattr(preferences, "view", lambda: other)
    assert (preferences.preferred("pinned"), preferences.preferred("excluded")) == (
        (identifier, "third"),
        ("other",),
    )
    preferences.toggle("pinned", identifier)
    assert preferences.preferred("pinned") == ("third",)


@pytest.mark.parametrize(
    "act", [None, 3, {"act": "delete", "id": "x"}, {"act": "pinned"}, {"act": "pinned", "id": [1]}]
)
def test_what_the_browser_makes_up_is_not_done(monkeypatch, act):
    monkeypatch.setattr(references.st, "session_state", {"references": {"act": act}})
    monkeypatch.setattr(references, "toggle", lambda *_: pytest.fail("done"))
    references._act()


def test_the_growing_library_is_that_of_the_engine(visit, engine):
    app = visit("size")
    whole = all_references(ASKED)
    change = engine.study(CHELSEA, whole, Convergence())
    assert f"**{verdict(change)}**" in said(app)
    studies = [Convergence(), Convergence(METRICS["average-gain"]()), Convergence(METRICS["adcc"](), 3, 100)]
    for position, study in enumerate(studies):
        low, high, mean = chart(app, position)["data"]
        spread = engine.study(CHELSEA, whole, study)
        assert mean["x"] == list(spread.sizes)
        assert mean["y"] == pytest.approx([np.mean(values) for values in spread.values], abs=1e-4)
        assert low["y"] == pytest.approx([min(values) for values in spread.values], abs=1e-4)
        assert high["y"] == pytest.approx([max(values) for values in spread.values], abs=1e-4)
        lines = chart(app, position)["layout"].get("shapes", [])
        assert [line["y0"] for line in lines if "xref" in line] == [ENOUGH] * (position == 0)


def test_the_size_that_is_enough_is_marked_if_there_is_one(visit, monkeypatch):
    for size, sentence in ((5, "5 of 19 references are enough"), (19, "19 references are not enough")):
        monkeypatch.setattr("explorer.ui.growth.enough", lambda change, size=size: size)
        app = visit("size")
        assert sentence in said(app)
        for position in range(3):
            layout = chart(app, position)["layout"]
            lines = [(line["x0"], line["x1"]) for line in layout.get("shapes", []) if "xref" not in line]
            assert lines == [(5, 5)] * (size < 19)
            names = [(name["text"], name["x"]) for name in layout.get("annotations", [])]
            assert names == [("enough", pytest.approx(np.log10(5)))] * (size < 19)


def test_the_verdict_names_the_size_that_is_enough():
    sizes = (1, 2, 5, 18)
    found = verdict(Spread(sizes, ((0.5,), (0.009,), (0.0,), (0.0,))))
    assert found == "2 of 18 references are enough here."
    assert "not enough" in verdict(Spread(sizes, ((0.5,), (0.4,), (0.3,), (0.0,))))


def test_predicted_differences_are_drawn_against_the_true_ones(visit, engine):
    app = visit("linear")
    found, kept = engine.study(CHELSEA, ASKED, Linearity()), used(engine).kept
    _, chosen, _ = chart(app)["data"]
    assert chosen["x"] == pytest.approx(found.true[kept].tolist(), abs=1e-3)
    assert chosen["y"] == pytest.approx(found.predicted[kept].tolist(), abs=1e-3)
    assert "exact here" in said(app)


def test_two_rules_side_by_side(visit, engine):
    app = visit("versus", versus__library="built-in")
    first = engine.explain(CHELSEA, ASKED).attribution.saliency.flatten().numpy()
    second = (
        engine.explain(CHELSEA, replace(ASKED, library="built-in")).attribution.saliency.flatten().numpy()
    )
    assert f"**{np.corrcoef(first, second)[0, 1]:.3f}**" in said(app)
    [picture] = app.get("image")
    assert "on-the-fly and built-in differ on chelsea" in picture.proto.imgs[0].alt
    assert [data["alt"] for data in drawn(app)] == ["Libra-CAM map for tiger cat on chelsea"] * 3
    app.selectbox(key="widget versus.library").set_value("on-the-fly")
    settle(app.run())
    assert "The two maps are the same." in said(app)
    assert "9 references are used by both" in said(app)


def test_the_library_size_is_one_choice_for_all_pages(visit):
    app = visit()
    [slider] = [one for one in app.slider if one.label == "Libra-CAM: library size"]
    assert slider not in list(app.sidebar.slider)
    settle(slider.set_value(5).run())
    assert "of 5 references kept" in said(app)
    assert link(app)["libra-cam.size"] == "5"
    compare = open_page("compare", **{key.replace(".", "__"): value for key, value in link(app).items()})
    [slider] = compare.sidebar.slider
    assert slider.value == 5


def test_the_lab_needs_libra_cam(visit):
    [info] = visit(methods="grad-cam").info
    assert "add Libra-CAM" in info.value


def test_session_state_holds_no_maps(visit):
    for section in ("cut", "references", "versus"):
        for value in visit(section).session_state._state.filtered_state.values():
            assert not isinstance(value, np.ndarray | Image.Image)
            assert "Tensor" not in repr(value)
