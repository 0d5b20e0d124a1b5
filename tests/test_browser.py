"""What a person does and sees, in a real browser against a real server."""

import base64
import io
import json
import re
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from browser import DEVICES, DRAWN, choose, fits, idle, photograph, settled
from PIL import Image
from playwright.sync_api import expect

from explorer.backbones import load
from explorer.calibration import PAPER_LEVELS
from explorer.methods import METHODS


def fingerprint(cell):
    """A digest of the pixels of a canvas."""
    return cell.evaluate("canvas => canvas.toDataURL()")


@pytest.mark.parametrize("server", [{}], indirect=True)  # one of its own, on which nothing is built yet
def test_first_page_explains_a_sample(visit):
    page = visit()
    settled(page, 2)
    expect(page.get_by_role("img", name="Libra-CAM map for tiger cat on chelsea").first).to_be_visible()
    expect(page.get_by_text("at the recommended cut").first).to_be_visible()


def test_main_job(visit, tmp_path):
    """Two uploads, two methods, a bad file, the library size, the cut, a download and a restored link."""
    page = visit()
    settled(page, 2)
    bad = {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture at all"}
    choose(
        page, page.get_by_test_id("stSidebar"), photograph("coffee"), photograph("rocket", (300, 460)), bad
    )
    expect(page.get_by_text("notes.jpg").and_(page.get_by_text("no JPEG, PNG or WebP"))).to_be_visible()
    page.get_by_role("button", name="Chelsea").click()
    settled(page, 4)
    expect(page.get_by_role("img", name="Grad-CAM map for espresso on coffee.jpg").first).to_be_visible()

    libra = page.locator(DRAWN).nth(3)
    before = fingerprint(libra)
    size = page.get_by_role("slider", name="Libra-CAM: library size")
    for key in ("Home", "ArrowRight", "ArrowRight"):
        size.press(key)
    expect(page).to_have_url(re.compile(r"libra-cam\.size=3"))
    settled(page, 4)
    assert fingerprint(page.locator(DRAWN).nth(3)) != before

    page.get_by_label("At the cut").check(force=True)
    cell = page.locator(DRAWN).first
    expect(cell).to_have_attribute("data-look", "cut/inferno/55/recommended")
    cut = page.get_by_label("Area removed")
    cut.fill("85")
    expect(cell).to_have_attribute("data-look", "cut/inferno/55/85")
    assert float(cell.get_attribute("data-removed")) == pytest.approx(0.85, abs=0.02)

    page.get_by_role("button", name="Download").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Map (.npy)", exact=True).click()
    download.value.save_as(tmp_path / "map.npy")
    saliency = np.load(tmp_path / "map.npy", allow_pickle=False)
    assert saliency.shape == (224, 224)
    assert saliency.dtype == np.float32
    assert (saliency.min(), saliency.max()) == (0, 1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Signed map (.npy)").click()
    signed = np.load(download.value.path(), allow_pickle=False)
    assert signed.shape == (7, 7)
    assert signed.min() < 0 < signed.max()
    with page.expect_download() as download:
        page.get_by_role("button", name="Manifest (.json)").click()
    [entry] = json.loads(Path(download.value.path()).read_text())["explanations"]
    assert entry["method"]["name"] == "grad-cam"


def test_link_restores_the_view(visit):
    page = visit("/?samples=coffee&methods=grad-cam%2B%2B%2Clibra-cam&libra-cam.size=7&class.coffee=504")
    settled(page, 2)
    expect(page.get_by_role("img", name="Grad-CAM++ map for coffee mug on coffee").first).to_be_visible()
    page.get_by_label("Heat map").check(force=True)
    page.get_by_label("Colour map").select_option("viridis")
    page.get_by_label("Area removed").fill("40")
    first = page.locator(DRAWN).first
    expect(first).to_have_attribute("data-look", "heat/viridis/55/40")
    expect(page).to_have_url(re.compile("look=heat-viridis-55-40"))
    settled(page, 2)

    again = visit("/" + page.url.split("/", 3)[3])
    settled(again, 2)
    expect(again.locator(DRAWN).first).to_have_attribute("data-look", "heat/viridis/55/40")
    expect(again.get_by_role("slider", name="Libra-CAM: library size")).to_have_value("7")
    for position in range(2):
        pixels = fingerprint(page.locator(DRAWN).nth(position))
        restored = again.locator(DRAWN).nth(position).element_handle()
        again.wait_for_function("([canvas, pixels]) => canvas.toDataURL() === pixels", arg=[restored, pixels])


HOSTILE = {
    "backbone": "../../etc/passwd",
    "libra-cam.size": "9" * 21,
    "methods": "<script>alert(1)</script>",
    "samples": "../../secret",
    "class.chelsea": "100000",
    "seed": "-1",
    "rule": "none",
    "look": "';alert(1)-x-999-999",
    "layer.efficientnet_lite0": "nowhere",
    "columns": "<img src=x onerror=alert(1)>",
    "what.chelsea": "grey:nan,inf,-1,2",
    "uploads": "../../etc/passwd",
}


def test_a_hostile_link_gives_the_defaults_and_says_so(visit):
    """Each value by itself is refused in tests/test_page.py."""
    page = visit(f"/?{urlencode(HOSTILE)}")
    expect(page.get_by_text("The link holds values that are not known here")).to_be_visible()
    settled(page, 2)
    expect(page.get_by_role("img", name="Libra-CAM map for tiger cat on chelsea").first).to_be_visible()


def test_overlay_is_drawn_in_the_browser(visit):
    """Opacity, colours and cut are drawn without a message to the server until the control is let go."""
    page = visit("/?methods=grad-cam")
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    page.reload()
    settled(page, 1)
    idle(page)
    cell = page.locator(DRAWN).first
    sent.clear()
    for opacity in (10, 35, 80):
        page.get_by_label("Opacity").evaluate(
            """(input, value) => { input.value = value; input.dispatchEvent(new Event("input", {bubbles: true})) }""",
            opacity,
        )
        expect(cell).to_have_attribute("data-look", f"overlay/inferno/{opacity}/recommended")
    assert not sent


def test_heat_map_lies_on_the_crop_of_any_shape(visit):
    """The map's colours stand inside the crop and nowhere else, on a wide and on a tall picture."""
    page = visit("/?methods=grad-cam")
    settled(page, 1)
    photographs = photograph("coffee", (900, 300)), photograph("astronaut", (300, 700))
    choose(page, page.get_by_test_id("stSidebar"), *photographs)
    page.get_by_role("button", name="Chelsea").click()
    settled(page, 2)
    page.get_by_label("Heat map").check(force=True)
    page.get_by_label("Colour map").select_option("greys")
    for position, (width, height) in enumerate([(300, 700), (900, 300)]):
        cell = page.locator(DRAWN).nth(position)
        expect(cell).to_have_attribute("data-look", "heat/greys/55/recommended")
        png = cell.evaluate("canvas => canvas.toDataURL().split(',')[1]")
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int)
        grey = np.ptp(shown, axis=2) <= 2
        short = min(width, height)
        half_width, half_height = 0.4375 * short / width, 0.4375 * short / height
        rows = np.linspace(0, 1, shown.shape[0])[:, None]
        columns = np.linspace(0, 1, shown.shape[1])[None]
        margin = 0.04
        inside = (abs(rows - 0.5) < half_height - margin) & (abs(columns - 0.5) < half_width - margin)
        outside = (abs(rows - 0.5) > half_height + margin) | (abs(columns - 0.5) > half_width + margin)
        assert grey[inside].mean() > 0.9
        assert grey[outside].mean() < 0.5


def test_choices_survive_a_change_of_page(visit):
    page = visit("/?samples=coffee&class.coffee=504")
    settled(page, 2)
    page.get_by_role("link", name="Libra lab").click()
    expect(page.get_by_text("references kept")).to_be_visible()
    expect(page.get_by_role("img", name="Libra-CAM map for coffee mug on coffee").first).to_be_visible()
    for part in ("samples=coffee", "class.coffee=504"):
        expect(page).to_have_url(re.compile(re.escape(part)))


def test_offline_backbone_says_what_to_do(visit):
    page = visit("/?backbone=vgg11")
    expect(page.get_by_text("The weights of vgg11 are not on this machine")).to_be_visible()
    expect(page.get_by_test_id("stFileUploaderDropzoneInput")).to_be_enabled()
    backbone = page.get_by_role("combobox", name="Backbone")
    for name, answer in (
        ("typed by hand", "There is no backbone 'typed by hand'"),
        ("timm:x", "timm knows no model 'x'"),
    ):
        backbone.fill(name)
        backbone.press("Enter")
        expect(page.get_by_text(answer)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(visit, scheme):
    """Nothing is wider than a phone, and the map is there."""
    page = visit("/", viewport={"width": 390, "height": 844}, color_scheme=scheme)
    settled(page, 2)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_long_work_says_what_it_takes_and_gives_way(visit):
    """The passes that are left, and the time once a first map has told how fast this machine is."""
    page = visit("/?methods=grad-cam,score-cam&metrics=")
    layer = load("efficientnet_lite0").default_layer
    passes = METHODS["score-cam"]().passes(layer) + len(PAPER_LEVELS)
    line = page.get_by_text(re.compile(r"about [\d,]+ passes left, \d+ (s|min)"))
    expect(line).to_be_visible()
    told = re.search(r"about ([\d,]+) passes left", line.inner_text())
    assert 0 < int(told[1].replace(",", "")) <= passes
    expect(line).not_to_contain_text(told[0])
    page.get_by_role("button", name="Score-CAM", exact=True).click()
    settled(page, 1)
    expect(page.get_by_text("passes left")).to_have_count(0)


def test_a_server_that_does_not_answer(visit):
    """What is drawn can be looked at; the page says what goes on, and goes on by itself."""
    page = visit("/?methods=grad-cam")
    sockets, down = [], False

    def connect(socket):
        if down:
            socket.close()
        else:
            sockets.append(socket)
            socket.connect_to_server()

    page.route_web_socket("**/_stcore/stream", connect)
    page.reload()
    settled(page, 1)
    line = page.get_by_role("status").filter(has_text="The server does not answer")
    expect(line).to_be_hidden()
    down = True
    refused = []

    def refuse(route):
        refused.append(route)
        route.abort()

    page.route("**/_stcore/**", refuse)
    sockets[-1].close()
    expect(line).to_be_visible()
    while len(refused) < 8:  # after the sixth Streamlit opens its dialog
        page.wait_for_event("requestfailed")
    before = fingerprint(page.locator(DRAWN))
    page.get_by_label("Heat map").check(force=True)
    expect(page.locator(DRAWN)).to_have_attribute("data-look", re.compile("^heat"))
    assert fingerprint(page.locator(DRAWN)) != before
    expect(page.get_by_role("dialog")).to_have_count(0)
    down = False
    page.unroute("**/_stcore/**")
    expect(line).to_be_hidden()
    page.get_by_role("button", name="Coffee").click()
    settled(page, 2)


SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => window.shifts.push(...list.getEntries())).observe({ type: "layout-shift" });
window.heights = {};
const watch = () => {
  for (const key of ["look-bar", "widget-columns"]) {
    const found = document.querySelector(`.st-key-${key}`);
    if (found) (window.heights[key] ??= new Set()).add(Math.round(found.getBoundingClientRect().height));
  }
  requestAnimationFrame(watch);
};
requestAnimationFrame(watch);
"""


@pytest.mark.parametrize("device", ["light", "phone"])
def test_the_layout_stays_once_it_is_painted(visit, device):
    """What web vitals call good is up to 0.1."""
    page = visit(**DEVICES[device])
    settled(page, 2)
    page.add_init_script(SHIFTS)
    page.reload()
    settled(page, 2)
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    shifts = page.evaluate(
        "(painted) => window.shifts.filter((one) => one.startTime > painted)"
        ".map((one) => [one.value, ...one.sources.map(({ node }) => node?.className)])",
        painted,
    )
    heights = page.evaluate("Object.entries(window.heights).map(([key, found]) => [key, ...found])")
    assert [len(found) for found in heights] == [2, 2], heights
    assert sum(value for value, *_ in shifts) < 0.1, shifts


@pytest.mark.parametrize("device", DEVICES)
def test_stop_and_go_on(visit, device):
    """A method of a thousand passes is given up, and the page is at rest; the map beside it stays."""
    page = visit("/?samples=chelsea&methods=grad-cam,score-cam&metrics=&quality=paper", **DEVICES[device])
    settled(page, 1)
    stop, go_on = (page.get_by_role("button", name=name, exact=True) for name in ("Stop", "Go on"))
    expect(page.get_by_test_id("stProgress")).to_contain_text("Score-CAM")
    _stand_in_a_line(page.get_by_test_id("stProgress"), stop)
    fits(page)
    stop.click()
    expect(go_on).to_be_visible()
    idle(page)
    _stand_in_a_line(page.get_by_text("Stopped: the rest"), go_on)
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    settled(page, 1)
    fits(page)
    go_on.click()
    expect(stop).to_be_visible()
    expect(page.get_by_text("Stopped", exact=True)).to_have_count(0)
    settled(page, 1)


def _stand_in_a_line(text, button):
    line, beside = text.bounding_box(), button.bounding_box()
    assert line["x"] + line["width"] <= beside["x"]
    assert beside["y"] < line["y"] + line["height"] / 2 < beside["y"] + beside["height"]
