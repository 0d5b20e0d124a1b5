"""The HTML report: its numbers, its safety against hostile names, and what a browser makes of it."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.evaluation import Column, as_table, summarise
from explorer.render.figures import dot_plot, ranked, ridgeline
from explorer.render.report import report

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&<!--.jpg"
METHODS = {
    "grad-cam": "Grad-CAM",
    "libra-cam": "Libra-CAM",
    "random": "Random",
    "constant": "Constant <b>",
}
COLUMNS = (
    Column("average-drop", "AD", "Average drop", "lower", "mean-colour fill, soft mask"),
    Column("insertion", "Ins", "Insertion", "higher", HOSTILE),
    Column("coherency", "Coh", "Coherency", "higher", "rescaled correlation"),
    Column("complexity", "Com", "Complexity", "lower", "mean of the map"),
    Column("pointing", "PG", "Pointing game", "higher", "15 px tolerance"),
    Column("map-mean", "Mean", "Map mean", None, "only describes"),
)
BASE = ("grad-cam", "plain")


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(5)
    table = as_table(
        {
            "picture": HOSTILE if picture == 0 else f"{picture:03d}.jpg",
            "correct": picture % 4 != 0,
            "method": method,
            "variant": variant,
            "blank": method == "constant",
            **{
                column.name: (
                    (quality % 3 if column.better == "higher" else 2 - quality % 3) + generator.uniform()
                )
                / 3
                for column in COLUMNS
            },
        }
        for picture in range(30)
        for quality, method in enumerate(("random", "grad-cam", "libra-cam", "constant"))
        for variant in ("plain", "calibrated")
    )
    table.loc[table["picture"] < "010", "pointing"] = np.nan
    table.loc[table["method"] == "constant", "coherency"] = np.nan
    return table


@pytest.fixture(scope="module")
def summary(table):
    return summarise(table, COLUMNS, BASE)


@pytest.fixture(scope="module")
def jpeg():
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "#884422").save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def document(summary, table, jpeg):
    about = {"Backbone": "resnet50", "Data set": HOSTILE}
    return report(summary, table, METHODS, about, {BASE: [(HOSTILE, jpeg, True), ("the worst", jpeg, False)]})


class Elements(HTMLParser):
    """Every element with its attributes, and the text of every cell of the tables."""

    def __init__(self, document):
        super().__init__()
        self.found = []
        self.tables = []
        self.feed(document)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_data(self, data):
        if self.tables and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def elements(document):
    return Elements(document)


def row(summary, method, variant):
    [found] = [row for row in summary.rows if (row.method, row.variant) == (method, variant)]
    return found


def test_same_input_same_bytes(summary, table, document, jpeg):
    about = {"Backbone": "resnet50", "Data set": HOSTILE}
    pictures = {BASE: [(HOSTILE, jpeg, True), ("the worst", jpeg, False)]}
    shuffled = table.sample(frac=1, random_state=2)
    again = report(summarise(shuffled, COLUMNS, BASE), shuffled, METHODS, about, pictures)
    assert again == document
    assert str(Path(__file__).parents[1]) not in document


def test_nothing_hostile_becomes_markup(document, elements):
    scripts = [attributes for tag, attributes in elements.found if tag == "script"]
    assert scripts == [{}, {"type": "application/json", "id": "figures"}, {}]
    assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)
    images = [attributes for tag, attributes in elements.found if tag == "img"]
    assert [image["alt"] for image in images] == [HOSTILE, "the worst"]
    assert document.count(HOSTILE) == 0


def test_pictures_are_within(elements, jpeg):
    images = [attributes["src"] for tag, attributes in elements.found if tag == "img"]
    assert {base64.b64decode(source.removeprefix("data:image/jpeg;base64,")) for source in images} == {jpeg}
    assert not any("href" in a and not a["href"].startswith("#") for _, a in elements.found)


def test_scores_in_the_table(summary, elements):
    plain = elements.tables[1]
    assert plain[0] == [
        "Method",
        "AD ↓",
        "Ins ↑",
        "Coh ↑",
        "Com ↓",
        "PG ↑",
        "Mean",
        "ADCC of means ↑",
        "Blank",
    ]
    assert [line[0] for line in plain[1:]] == list(METHODS.values())
    for line, method in zip(plain[1:], METHODS, strict=True):
        for cell, column in zip(line[1:-1], summary.columns, strict=True):
            found = row(summary, method, "plain").scores[column.name].everywhere
            if found.mean is None:
                assert cell == "–"
            else:
                mean, half = map(float, cell.split(" ± "))
                assert mean == pytest.approx(100 * found.mean, abs=0.051)
                assert half == pytest.approx(50 * (found.high - found.low), abs=0.051)
    assert [line[-1] for line in plain[1:]] == ["0", "0", "0", "30"]


def test_a_control_that_games_the_metrics_is_named_but_not_the_best(table):
    summary = summarise(table, COLUMNS, BASE, controls=["libra-cam"])
    [_, *lines] = Elements(report(summary, table, METHODS, {}, {})).tables[0]
    for line, column in zip(lines, summary.columns, strict=True):
        if column.better is None:
            assert line[1:] == ["–", "–"]
        for cell in line[1:] if column.better else ():
            assert cell.startswith(METHODS["grad-cam"])
            assert f"a control has a better mean: {METHODS['libra-cam']}" in cell


def test_tables_have_captions_and_scopes(elements):
    cells = [attributes for tag, attributes in elements.found if tag == "th"]
    assert all(attributes["scope"] in ("col", "row") for attributes in cells)
    names = [tag for tag, _ in elements.found]
    regions = [
        attributes["aria-label"] for _, attributes in elements.found if attributes.get("role") == "region"
    ]
    assert names.count("caption") == names.count("table") == len(regions) == 1 + 2 + 2 + 7
    charts = [attributes for _, attributes in elements.found if attributes.get("class") == "chart"]
    assert len(charts) == 8
    assert all(chart["aria-label"] for chart in charts if chart["id"] != "spread")


def test_dots_are_where_the_means_are(summary):
    figure = dot_plot(summary, COLUMNS[0], METHODS)
    order = ranked(summary, COLUMNS[0], METHODS)
    assert order[0] == "libra-cam"
    drawn = {}
    for trace in figure["data"]:
        bars = trace["error_x"]
        for x, y, up, down in zip(trace["x"], trace["y"], bars["array"], bars["arrayminus"], strict=True):
            variant = "plain" if y < round(y) else "calibrated"
            drawn[order[round(y)], variant] = (x - down, x, x + up)
    assert set(drawn) == {(r.method, r.variant) for r in summary.rows}
    for (method, variant), interval in drawn.items():
        found = row(summary, method, variant).scores["average-drop"].everywhere
        assert interval == pytest.approx((100 * found.low, 100 * found.mean, 100 * found.high), abs=1e-3)
    [line] = figure["layout"]["shapes"]
    base = row(summary, *BASE).scores["average-drop"].everywhere.mean
    assert line["x0"] == line["x1"] == pytest.approx(100 * base, abs=1e-3)


def test_histograms_hold_every_picture(summary, table):
    figure = ridgeline(table, summary, COLUMNS[4], METHODS)
    traces = figure["data"]
    assert len(traces) == len(summary.rows)
    # Heights are roots of shares on one scale, so their squares add up to the same for every method.
    sums = [sum((trace["y"][0] - y) ** 2 for y in trace["y"][1:-1:2]) for trace in traces]
    assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-3)
    scores = table["pointing"].dropna()
    for trace in traces:
        assert (min(trace["x"]), max(trace["x"])) == pytest.approx(
            (100 * scores.min(), 100 * scores.max()), abs=1e-4
        )


def test_colours_contrast():
    css = (Path(__file__).parents[1] / "explorer" / "render" / "report.css").read_text("utf-8")
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r":root {([^}]*)}", css)[:2]
    ]
    assert len({theme["paper"] for theme in themes}) == 2

    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    for theme in themes:
        pairs = [(text, "paper") for text in ("ink", "soft", "accent", "worse")]
        for text, ground in [*pairs, ("ink", "band"), ("soft", "band"), ("ink", "tint")]:
            dark, light = sorted((luminance(theme[text]), luminance(theme[ground])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


@pytest.fixture
def visit(chromium, document, tmp_path):
    """Opens the report; the test fails on any message in the console and on any request but for the file."""
    path = tmp_path / "report.html"
    path.write_text(document, "utf-8")
    faults, contexts = [], []

    def open_report(**context):
        contexts.append(chromium.new_context(**context))
        page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: asked(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("#spread .main-svg")
        return page

    def asked(url):
        if url != path.as_uri() and not url.startswith("data:"):
            faults.append(url)

    yield open_report
    for context in contexts:
        context.close()
    assert faults == []


@pytest.mark.parametrize("width", [390, 2560])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_the_window(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".chart .main-svg").first.bounding_box()["width"] <= width
    assert page.title() == "Evaluation of 4 methods, 30 pictures, 7 metrics"
    for chart in page.locator(".chart").all():
        assert chart.locator("path.point, path.js-fill").count() >= 6


def test_headers_sort(visit, summary):
    page = visit()
    plain = page.locator("table.matrix").first
    header = plain.get_by_role("button", name="AD ↓")
    means = {
        METHODS[r.method]: r.scores["average-drop"].everywhere.mean
        for r in summary.rows
        if r.variant == "plain"
    }
    for reverse, order in ((False, "ascending"), (True, "descending")):
        header.click()
        assert plain.locator("tbody th").all_inner_texts() == sorted(means, key=means.get, reverse=reverse)
        assert plain.locator("th[aria-sort]").get_attribute("aria-sort") == order
    plain.get_by_role("button", name="Coh ↑").click()
    assert plain.locator("tbody th").last.inner_text() == "Constant <b>"


def test_the_reader_chooses_the_histograms(visit):
    page = visit()
    chart = page.locator("#spread")
    first = chart.locator("path.js-fill").first.get_attribute("d")
    page.locator("#metric").select_option("insertion")
    assert chart.get_attribute("aria-label") == "Histograms of Insertion for each method"
    assert chart.locator("path.js-fill").first.get_attribute("d") != first


def test_printing_unfolds(visit):
    page = visit()
    assert page.locator("details:not([open])").count() > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_figures_are_strict_json(document):
    [text] = re.findall(r'id="figures">(.*?)</script>', document)

    def refuse(constant):
        raise AssertionError(constant)

    figures = json.loads(text, parse_constant=refuse)
    assert set(figures["spreads"]) == {column.name for column in COLUMNS}
    assert set(figures["dots"]) == {f"dots-{name}" for name in [*figures["spreads"], "adcc-of-means"]}
