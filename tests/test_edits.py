"""A part of a picture changed: the pixels, and the row that the changed picture gets on the wall."""

from functools import partial

import numpy as np
import pytest
from pages import drawn, link, open_page, settle

from explorer import Engine, Picture, Request, sample
from explorer.edits import EDITS, edited

BOX = (0.25, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def noise():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
    return Picture("noise", "0" * 64, pixels)


def halves(picture):
    """The pixels in the box, and all others."""
    inside = np.zeros(picture.pixels.shape[:2], bool)
    inside[20:40, 20:60] = True
    return picture.pixels[inside].astype(float), picture.pixels[~inside].astype(float)


@pytest.mark.parametrize("edit", EDITS)
def test_only_the_part_changes_or_only_the_part_is_kept(noise, edit):
    made = edited(noise, BOX, edit)
    (inside, outside), (was_inside, was_outside) = halves(made), halves(noise)
    if edit == "keep":
        assert np.array_equal(inside, was_inside)
        assert np.all(outside == 127)
        return
    assert np.array_equal(outside, was_outside)
    if edit == "grey":
        assert np.all(inside == 127)
    elif edit == "paint":
        assert np.array_equal(inside, np.broadcast_to(np.rint(was_outside.mean(0)), inside.shape))
    else:
        assert 0 < inside.std() < was_inside.std() / 4
        assert inside.mean() == pytest.approx(was_inside.mean(), abs=10)


def test_the_digest_tells_pictures_parts_and_changes_apart(noise):
    other = Picture("noise", "1" * 64, noise.pixels)
    made = [edited(noise, BOX, edit) for edit in EDITS]
    made += [edited(noise, (0.2, 0.5, 0.75, 1.0), "grey"), edited(other, BOX, "grey"), noise]
    assert len({picture.digest for picture in made}) == len(made)
    assert edited(noise, BOX, "grey").digest == made[0].digest


def test_the_thinnest_part_is_a_pixel_wide(noise):
    assert (edited(noise, (0.5, 0.5, 0.5001, 1.0), "grey").pixels != noise.pixels).any()


@pytest.fixture
def visit(furnished):
    return partial(open_page, "compare")


def test_the_changed_picture_has_a_row_that_explains_the_same_class(visit):
    app = visit(methods="grad-cam", **{"what__chelsea": "grey:0.3,0.1,0.7,0.9"})
    engine, chelsea = Engine(), sample("chelsea")
    prediction = engine.predict(chelsea, "efficientnet_lite0")
    target = prediction.top(1)[0]
    other = edited(chelsea, (0.3, 0.1, 0.7, 0.9), "grey")
    now = engine.explain(other, Request(target=target))
    before = float(prediction.probabilities[target])
    assert [data["alt"] for data in drawn(app) if data["view"] is None] == [
        "Grad-CAM map for tiger cat on chelsea",
        "Grad-CAM map for tiger cat on chelsea, greyed out",
    ]
    [told] = [text.value for text in app.markdown if "→" in text.value and text.value.startswith("tiger cat")]
    assert f"{before:.1%} → **{now.probability:.1%}**" in told
    found = engine.predict(other, "efficientnet_lite0")
    assert ("Now predicted" in told) == (found.top(1)[0] != target)
    assert link(app)["what.chelsea"] == "grey:0.3,0.1,0.7,0.9"


def test_a_change_is_chosen_and_taken_back(visit):
    app = visit(methods="grad-cam")
    [choice] = [radio for radio in app.radio if radio.label == "Change a part of the picture"]
    choice.set_value("keep")
    settle(app.run())
    assert len(drawn(app, "photo")) == 2
    assert link(app)["what.chelsea"].startswith("keep:")
    [choice] = [radio for radio in app.radio if radio.label == "Change a part of the picture"]
    choice.set_value("nothing")
    settle(app.run())
    assert len(drawn(app, "photo")) == 1
    assert "what.chelsea" not in link(app)


@pytest.mark.parametrize("wish", ["melt:0.1,0.1,0.2,0.2", "grey:0.5,0.5,0.2,0.2", "grey:nan,0,1,1", "grey"])
def test_a_wish_of_a_link_that_makes_no_sense_is_refused(visit, wish):
    app = visit(methods="grad-cam", **{"what__chelsea": wish})
    assert any("what.chelsea" in warning.value for warning in app.warning)
    assert len(drawn(app, "photo")) == 1
