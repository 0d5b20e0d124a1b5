"""The Faithfulness page, without a browser: its numbers against the engine's and against values known beforehand."""

import base64
import io
import re

import numpy as np
import pytest
from pages import chart, control, drawn, link, open_page, settle
from PIL import Image
from scipy.stats import spearmanr

from explorer import Request, images
from explorer.calibration import cut_map
from explorer.compute import Engine
from explorer.methods.base import from_signed
from explorer.methods.controls import CentreGaussian
from explorer.methods.gradient import GradCAM, GradCAMPlusPlus
from explorer.metrics import Deletion, Inserted, Insertion, Objects, Randomisation, find
from explorer.render.overlay import difference, seen

PAIR = "grad-cam,grad-cam++"
_METRICS = tuple(
    find(name)()
    for name in (
        *("average-gain", "average-drop", "average-drop-in-deletion", "adcc", "coherency", "complexity"),
        *("deletion", "insertion"),
    )
)


@pytest.fixture(scope="module")
def engine():
    return Engine()


@pytest.fixture
def visit(furnished):
    def visit(methods=PAIR, controls="no", **query):
        return open_page("faithfulness", methods=methods, controls=controls, **query)

    return visit


def curves(app, position=0):
    """The chart's values by the names of its lines."""
    return {trace["name"]: trace["y"] for trace in chart(app, position)["data"]}


def matrix(app):
    """The agreement of each two methods."""
    [data] = chart(app, 3)["data"]
    return data["x"], np.array(data["z"])


def galleries(app):
    """The rows of small pictures, as HTML."""
    return [element.proto.body for element in app.get("html") if "<ul" in element.proto.body]


def pictures(app, position):
    """The pictures of a gallery as arrays."""
    encoded = re.findall(r"data:image/jpeg;base64,([^\"]+)", galleries(app)[position])
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in encoded]


def test_curves_and_table_are_those_of_the_engine(visit, engine):
    app = visit()
    chelsea = images.sample("chelsea")
    requests = [Request(method=GradCAM()), Request(method=GradCAMPlusPlus())]
    found = engine.figures(chelsea, requests, _METRICS)
    for position, metric in enumerate((Deletion(), Insertion())):
        assert list(curves(app, position).values()) == [
            pytest.approx([100 * value for value in one.curves[metric.name]], abs=1e-3) for one in found
        ]
        assert list(curves(app, position)) == [
            f"{title} {100 * one.plain[metric.name]:.1f}%"
            for title, one in zip(("Grad-CAM", "Grad-CAM++"), found, strict=True)
        ]
    table = app.dataframe[0].value
    assert list(table.index) == ["Grad-CAM", "Grad-CAM++"]
    for metric, (_, column) in zip(_METRICS, table.items(), strict=True):
        assert column.tolist() == pytest.approx([100 * one.plain[metric.name] for one in found], abs=1e-3)
    calibrated = visit(variant="calibrated").dataframe[0].value
    assert calibrated["ADCC ↑"].tolist() == pytest.approx(
        [100 * one.calibrated["adcc"] for one in found], abs=1e-3
    )


def test_fill_mask_and_further_figures_of_the_sidebar_are_measured_and_named(visit, engine):
    app = visit("grad-cam", fill="black", mask="top half", metrics="average-gain,increase-rate,ties")
    metrics = [
        find(name)(fill="black", mask="top half") for name in ("average-gain", "increase-rate", "ties")
    ]
    metrics.append(find("adcc")(fill="black"))
    [found] = engine.figures(images.sample("chelsea"), [Request(method=GradCAM())], metrics)
    table = app.dataframe[0].value
    for label, metric in zip(
        (
            "Average gain (fill=black, mask=top half) ↑",
            "Increase rate (fill=black, mask=top half) ↑",
            "Ties (fill=black, mask=top half)",
            "ADCC (fill=black) ↑",
        ),
        metrics,
        strict=True,
    ):
        assert table[label]["Grad-CAM"] == pytest.approx(100 * found.plain[str(metric)], abs=1e-3)
    assert any("Masked pictures: black, top half mask" in caption.value for caption in app.caption)
    assert any("mean colour, soft mask" in caption.value for caption in visit("grad-cam").caption)


def test_arrows_point_where_better_is(visit):
    for label in visit().dataframe[0].value:
        title, arrow = label.rsplit(" ", 1)
        [metric] = [metric for metric in _METRICS if metric.title == title]
        assert arrow == {"higher": "↑", "lower": "↓"}[metric.better]


def test_controls_stand_beside_unless_switched_off(visit):
    app = visit("grad-cam", "yes")
    assert list(app.dataframe[0].value.index) == ["Grad-CAM", "Random", "Centre Gaussian", "Fake-CAM"]
    assert {trace["line"]["color"] for trace in chart(app)["data"][1:]} == {"#8C8C8C"}
    app.toggle(key="widget controls").set_value(False)
    settle(app.run())
    assert list(app.dataframe[0].value.index) == ["Grad-CAM"]
    assert link(app)["controls"] == "no"


def test_the_slider_marks_a_measured_step_and_shows_it(visit, engine):
    app = visit()
    assert [shape["x0"] for shape in chart(app)["layout"]["shapes"]] == [25]
    app.slider(key="widget step").set_value(60)
    app.segmented_control(key="widget side").set_value("insertion")
    settle(app.run())
    metric = Insertion()
    counts = metric.counts(224 * 224)
    step = min(range(len(counts)), key=lambda i: abs(counts[i] / 224**2 - 0.6))
    assert chart(app)["layout"]["shapes"][0]["x0"] == pytest.approx(100 * counts[step] / 224**2)
    for trace in chart(app, 1)["data"]:
        assert [i for i, size in enumerate(trace["marker"]["size"]) if size] == [step]
    chelsea = images.sample("chelsea")
    explanation = engine.explain(chelsea, Request(method=GradCAM()))
    expected = engine.perturbed(chelsea, explanation, Inserted(counts[step], "blur"))
    [shown, _] = pictures(app, 0)
    assert np.abs(shown.astype(int) - expected).mean() < 6  # a JPEG of it
    assert f"{curves(app, 1).popitem()[1][step]:.1f}%" in galleries(app)[0]
    assert link(app) == {"methods": PAIR, "controls": "no", "step": "60", "side": "insertion"}


def test_parts_of_adcc_are_drawn_so_that_higher_is_better(visit, engine):
    [found] = engine.figures(
        images.sample("chelsea"),
        [Request(method=GradCAM())],
        [find(name)() for name in ("coherency", "complexity", "average-drop", "adcc")],
    )
    plain = found.plain
    expected = [plain["coherency"], 1 - plain["complexity"], 1 - plain["average-drop"]]
    drawn_values = curves(visit("grad-cam"), 2)[f"Grad-CAM {100 * plain['adcc']:.1f}%"]
    assert drawn_values == pytest.approx([100 * value for value in expected], abs=1e-3)


def test_agreement_is_spearmans_and_one_with_itself(visit, engine):
    chelsea = images.sample("chelsea")
    methods = (GradCAM(), GradCAMPlusPlus(), CentreGaussian())
    found = [engine.explain(chelsea, Request(method=method)) for method in methods]
    maps = [one.attribution.saliency.flatten().double().numpy() for one in found]
    app = visit("grad-cam,grad-cam++,centre-gaussian")
    names, values = matrix(app)
    assert names == ["Grad-CAM", "Grad-CAM++", "Centre Gaussian"]
    assert values == pytest.approx(spearmanr(np.stack(maps), axis=1).statistic, abs=1e-3)
    assert values.diagonal() == pytest.approx(np.ones(3), abs=1e-6)

    app.segmented_control(key="widget agreement").set_value("cut")
    _, values = matrix(settle(app.run()))
    kept = [cut_map(one.attribution.saliency, one.calibration.cut) > 0 for one in found]
    expected = [[float((a & b).sum() / (a | b).sum()) for b in kept] for a in kept]
    assert values == pytest.approx(np.array(expected), abs=1e-3)


def test_coincident_maps_agree_fully_and_do_not_differ(visit):
    """Grad-CAM and HiRes-CAM are one map at the last layer."""
    app = visit("grad-cam,hires-cam")
    _, values = matrix(app)
    assert values == pytest.approx(np.ones((2, 2)), abs=1e-3)
    app.selectbox(key="widget second").set_value("grad-cam")
    settle(app.run())
    assert any("two maps are the same" in caption.value for caption in app.caption)


def test_difference_is_signed_and_neutral_where_there_is_none():
    grey = images.Picture("grey", "0", np.full((4, 6, 3), 128, np.uint8))
    one, other = np.zeros((2, 4, 6), np.float32)
    one[0, 0], other[0, 1] = 0.5, 0.25
    drawn_map, reach = difference(grey, one, other)
    pixels = np.asarray(drawn_map).astype(int)
    assert reach == 0.5
    assert np.ptp(pixels[1:]) == 0
    assert pixels[0, 0, 0] > pixels[0, 0, 2]
    assert pixels[0, 1, 0] < pixels[0, 1, 2]
    same, reach = difference(grey, one, one)
    assert reach == 0
    assert np.ptp(np.asarray(same)) == 0


def test_seen_is_the_crop_at_the_size_of_the_map():
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[2:6, 4:12] = 200
    crop = seen(images.Picture("", "", pixels), (0.25, 0.25, 0.75, 0.75), (10, 20))
    assert crop.pixels.shape == (10, 20, 3)
    assert (crop.pixels == 200).all()


def test_a_box_over_everything_has_all_energy(visit):
    energy = visit(**{"box__chelsea": "0,0,1,1"}).dataframe[1].value
    assert energy["Energy inside"].tolist() == pytest.approx([100, 100])
    assert energy["Highest inside"].all()


def test_energy_of_a_drawn_box(visit, engine):
    app = visit("centre-gaussian,grad-cam")
    [data] = drawn(app, "box")
    left, top, right, bottom = crop = data["crop"]
    half = [left, top, (left + right) / 2, bottom]
    app.session_state[f"box {images.sample('chelsea').digest}"] = {"box": half}
    settle(app.run())
    energy = app.dataframe[1].value["Energy inside"]
    saliency = engine.explain(images.sample("chelsea"), Request(method=GradCAM())).attribution.saliency
    assert energy["Centre Gaussian"] == pytest.approx(50, abs=0.1)
    assert energy["Grad-CAM"] == pytest.approx(float(100 * saliency[:, :112].sum() / saliency.sum()), abs=0.1)
    assert any("covers 50.0%" in caption.value for caption in app.caption)
    again = visit("centre-gaussian,grad-cam", **{"box__chelsea": link(app)["box.chelsea"]})
    assert drawn(again, "box")[0]["box"] == pytest.approx(half, abs=1e-5)
    assert again.dataframe[1].value.equals(app.dataframe[1].value)
    assert crop == drawn(again, "box")[0]["crop"]


def test_a_box_beside_the_crop_is_explained(visit):
    app = visit(**{"box__chelsea": "0,0,0.05,1"})
    assert any("outside of what the network sees" in info.value for info in app.info)


@pytest.mark.parametrize("box", [(0.1, 0.2, 0.6, 0.9), (0, 0, 1, 1), (0.3, 0.3, 0.31, 0.31)])
def test_pixels_in_a_box_are_those_with_their_centre_in_it(box):
    crop = (0.125, 0.05, 0.875, 0.95)
    region = Objects.inside(box, crop, (18, 15)).region
    for row, column in np.ndindex(18, 15):
        x, y = 0.125 + (column + 0.5) / 15 * 0.75, 0.05 + (row + 0.5) / 18 * 0.9
        assert region[row, column] == (box[0] <= x < box[2] and box[1] <= y < box[3])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("box.chelsea", "0,0,nan,1"),
        ("box.chelsea", "0.5,0,0.2,1"),
        ("box.chelsea", "0,0,2,1"),
        ("box.chelsea", "0,0,1"),
        ("step", "101"),
        ("side", "up"),
        ("variant", "__class__"),
        ("agreement", "x"),
        ("first", "nobody"),
        ("sanity", "nobody"),
        ("controls", "1"),
    ],
)
def test_refused_values_of_a_link_are_named(visit, key, value):
    app = visit(**{"controls": "no", key: value})
    assert any(key in warning.value for warning in app.warning)
    assert key not in link(app)


def test_sanity_check_runs_when_asked_for(visit, engine):
    app = visit("grad-cam")
    assert len(galleries(app)) == 1
    [button] = [button for button in app.button if button.label == "Run the sanity check"]
    button.click()
    settle(app.run())
    stages = engine.randomised(images.sample("chelsea"), Request(method=GradCAM()), Randomisation(stages=4))
    for stage in stages:
        assert (
            f"Random after {stage.layer}</b><br>rank correlation {stage.correlation:.2f}" in galleries(app)[1]
        )
    assert len(pictures(app, 1)) == 5
    assert link(app)["sanity"] == "grad-cam"
    assert galleries(visit("grad-cam", sanity="grad-cam")) == galleries(app)


def test_one_method_and_none_are_explained(visit):
    app = visit("grad-cam")
    assert any("One method is chosen" in info.value for info in app.info)
    assert any("takes two maps" in info.value for info in app.info)
    app.button_group(key="widget methods.gradients").set_value([])
    settle(app.run())
    assert [info.value for info in app.info] == [
        "This page measures and compares maps: choose two or more methods in the sidebar."
    ]


def test_a_blank_map_is_named_and_left_out(visit, monkeypatch):
    monkeypatch.setattr(
        GradCAM, "__call__", lambda self, probe, *_: from_signed(-probe.activation.sum(0), probe)
    )
    app = visit("grad-cam,grad-cam++,centre-gaussian", samples="motorcycle")
    assert any("its map is blank" in caption.value for caption in app.caption)
    assert matrix(app)[0] == ["Grad-CAM++", "Centre Gaussian"]
    assert any("no map of one of the two" in caption.value for caption in app.caption)


def test_an_undefined_method_is_skipped_with_the_reason(visit, original):
    original("squeezenet1_1")
    app = visit("cam,grad-cam,centre-gaussian", backbone="squeezenet1_1")
    assert any("CAM is left out. CAM is defined only where" in caption.value for caption in app.caption)
    assert matrix(app)[0] == ["Grad-CAM", "Centre Gaussian"]
    assert not app.error


def test_a_method_that_is_taken_away_gives_way(visit):
    app = visit("grad-cam,grad-cam++,eigen-cam", second="eigen-cam")
    app.button_group(key="widget methods.activations").set_value([])
    settle(app.run())
    assert control(app, "selectbox", "second").value == "grad-cam++"


def test_session_state_holds_no_maps(visit):
    for value in visit().session_state._state.filtered_state.values():
        assert not isinstance(value, np.ndarray | Image.Image)
        assert "Tensor" not in repr(value)
