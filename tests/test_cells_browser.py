"""The views of a map, what is read under the cursor, and the full screen, as a person uses them."""

import re

import numpy as np
import pytest
from browser import DRAWN, idle, settled
from playwright.sync_api import expect
from streamlit.proto.BackMsg_pb2 import BackMsg

from explorer import Request, images
from explorer.compute import Engine
from explorer.methods import METHODS

WALL = "figure:has(canvas[data-cell^=look])"
PIXELS = """canvas => {
    const { width, height } = canvas;
    return [height, width, Array.from(canvas.getContext("2d").getImageData(0, 0, width, height).data)];
}"""


def look(page, name):
    page.get_by_role("radio", name=name, exact=True).check(force=True)
    view = {"Heat map": "heat", "At the cut": "cut"}.get(name, name.lower())
    for cell in page.locator(DRAWN).all():
        expect(cell).to_have_attribute("data-look", re.compile(f"^{view}/"))


def pixels(canvas):
    height, width, values = canvas.evaluate(PIXELS)
    return np.reshape(values, (height, width, 4))[..., :3].astype(int)


def divided(page, place):
    """Waits until the divider of each map of the wall stands there."""
    for divider in page.locator(f"{WALL} [role=slider]").all():
        expect(divider).to_have_attribute("aria-valuenow", str(place))


def overheard(page):
    """All that the browser tells the server, from a new start of the page on."""
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    page.reload()
    return sent


def test_cell(visit):
    """One visit: the readout, the wipe, the signed map and the full screen."""
    page = visit("/?samples=china&methods=grad-cam,random")
    sent = overheard(page)
    settled(page, 2)
    idle(page)
    explanation = Engine().explain(images.sample("china"), Request(method=METHODS["grad-cam"]()))
    cell, figure = page.locator(DRAWN).first, page.locator(WALL).first
    expect(cell).to_have_attribute("aria-label", re.compile("^Grad-CAM map"))

    _reads_the_map(cell, figure.locator("output"), explanation)
    look(page, "Overlay")
    whole = pixels(cell)
    look(page, "Wipe")
    expect(page).to_have_url(re.compile("look=wipe"))
    sent.clear()
    _wipes(page, cell, figure, whole)
    asked = [BackMsg.FromString(frame).rerun_script for frame in sent]
    assert all(one.is_auto_rerun for one in asked)  # by the line that polls
    _shows_the_signed_map(page, figure, explanation)
    _fills_the_screen(page, cell, figure)


def _reads_the_map(cell, readout, explanation):
    """From the peak, beyond the measured levels, to the left as far as the map is low."""
    values = np.rint(255 * explanation.attribution.saliency.numpy())
    curve = explanation.calibration
    row, column = np.unravel_index(values.argmax(), values.shape)
    cell.focus()
    expect(readout).to_have_text("1.00 · 100% below")
    known = 0
    while column > 0:
        column = max(column - 10, 0)
        cell.press("Shift+ArrowLeft")
        below = 100 * np.mean(values < values[row, column])
        said = re.fullmatch(
            r"(\d\.\d\d) · (\d+)% below( · cut here: about (\d\.\d{3}))?", readout.text_content()
        )
        assert float(said[1]) == pytest.approx(values[row, column] / 255, abs=0.0051)
        assert float(said[2]) == pytest.approx(below, abs=0.51)
        if below > curve.removed[-1]:
            assert said[4] is None
        else:
            known += 1
            chance = np.interp(below, curve.removed, curve.probabilities)
            assert float(said[4]) == pytest.approx(chance, abs=6e-4)
    assert known
    cell.press("Escape")
    expect(readout).to_be_hidden()


def _wipes(page, cell, figure, whole):
    """The divider follows the pointer and the keys, in all maps, between the photograph and the ``whole`` overlay."""
    area = cell.bounding_box()
    across = [area["x"] + share * area["width"] for share in (0.3, 0.7)]
    page.mouse.move(across[0], area["y"] + 20)
    page.mouse.down()
    page.mouse.move(across[1], area["y"] + 40, steps=4)
    page.mouse.up()
    page.mouse.move(across[0], area["y"] + 20)
    divided(page, 70)
    divider = figure.get_by_role("slider")
    for key, place in (
        ("ArrowLeft", 69),
        ("Shift+ArrowLeft", 59),
        ("End", 100),
        ("Home", 0),
        ("ArrowDown", 0),
    ):
        divider.press(key)
        divided(page, place)
    for _ in range(5):
        divider.press("Shift+ArrowUp")
    expect(divider).to_have_attribute("aria-valuetext", "50% photograph")
    photograph = page.locator("canvas[data-photo]").element_handle()
    page.wait_for_function(  # the divider is drawn with the next frame
        """([cell, photograph]) => {
            const colours = [cell, photograph].map((canvas) =>
                canvas.getContext("2d").getImageData(canvas.width * 0.48, canvas.height / 2, 1, 1).data.join());
            return colours[0] === colours[1];
        }""",
        arg=[cell.element_handle(), photograph],
    )
    shown, bare = pixels(cell), pixels(photograph)
    height, width = shown.shape[:2]
    middle = slice(height // 4, 3 * height // 4)
    left, right = slice(width * 3 // 10, width // 2 - 2), slice(width // 2 + 2, width * 7 // 10)
    assert (shown[middle, left] == bare[middle, left]).all()
    assert (shown[middle, right] == whole[middle, right]).all()
    assert abs(shown[middle, right] - bare[middle, right]).mean() > 5


def _shows_the_signed_map(page, figure, explanation):
    """The legend says how far the scale reaches, and that a method knows no negative values."""
    look(page, "Signed")
    settled(page, 2)
    low, high = (float(figure.locator(side).inner_text().replace("−", "-")) for side in (".low", ".high"))
    signed = explanation.attribution.signed.numpy()
    assert -low == high == pytest.approx(abs(signed).max(), rel=0.05)  # enlarged, its peak is a little lower
    expect(figure.locator("figcaption")).to_contain_text("before ReLU")
    expect(page.locator(WALL).last.locator("figcaption")).to_contain_text("no negative part")
    expect(page.get_by_label("Colour map")).to_be_disabled()
    figure.locator("canvas[data-cell]").press(
        "ArrowLeft"
    )  # from the peak, where all that adds up is positive
    value, share = re.fullmatch(r"\+(.+) · map (\d\.\d\d)", figure.locator("output").inner_text()).groups()
    assert float(value) == pytest.approx(high * float(share), rel=0.02)


def _fills_the_screen(page, cell, figure):
    """By the key and by the button, drawn as large as it is shown, with its title and its legend."""
    small, title = cell.bounding_box(), figure.locator(".title")
    cell.press("f")
    leave = figure.get_by_role("button", name="Leave full screen")
    expect(leave).to_be_visible()
    expect(title).to_have_text(re.compile("^Grad-CAM map for .* on china$"))
    expect(figure.locator("figcaption")).to_contain_text("before ReLU and scaling")
    large = cell.bounding_box()
    assert large["width"] > 3 * small["width"]
    page.wait_for_function(
        "canvas => canvas.width === Math.round(canvas.clientWidth * devicePixelRatio)",
        arg=cell.element_handle(),
    )
    expect(figure.locator("output")).to_be_visible()
    leave.click()
    expect(title).to_be_hidden()
    expect(figure.get_by_role("button", name="Full screen")).to_be_focused()
    assert cell.bounding_box()["width"] == small["width"]
    figure.get_by_role("button", name="Full screen").click()
    expect(title).to_be_visible()
    cell.press("F")  # as with Caps Lock
    expect(title).to_be_hidden()


def test_maps_of_a_method_share_a_scale(visit):
    """Two pictures: the weaker map takes the colours and the numbers of the stronger, until that is taken away."""
    page = visit("/?samples=chelsea,china&methods=grad-cam,random&look=heat-greys-55-None")
    sent = overheard(page)
    settled(page, 4)
    idle(page)
    extents = [
        Engine()
        .explain(images.sample(name), Request(method=METHODS["grad-cam"]()))
        .attribution.extent.tolist()
        for name in ("chelsea", "china")
    ]
    (low, high), (_, top) = sorted(extents, key=lambda extent: extent[1])
    weaker = page.locator(WALL).nth(0 if (low, high) == tuple(extents[0]) else 2)
    cell, legend = weaker.locator("canvas[data-cell]"), weaker.locator(".scale")
    expect(legend).to_have_text("01own scale")
    own = middle(cell)
    sent.clear()
    page.get_by_role("combobox", name="Scale", exact=True).evaluate(
        """select => { select.value = "shared"; select.dispatchEvent(new Event("input", { bubbles: true })) }"""
    )
    expect(legend).to_have_text(f"0{float(f'{top:.3g}'):g}shared")
    expect(legend).to_have_attribute("aria-label", re.compile("^One scale for all Grad-CAM maps here"))
    expect(page.locator(WALL).nth(1).locator(".scale")).to_have_text("01no units")
    assert not sent
    expected = (255 * low + (high - low) * own) / top
    assert np.mean(abs(middle(cell) - expected) <= 2) > 0.9
    assert expected.max() < 0.9 * own.max()
    cell.focus()
    value = re.match(r"1\.00 \((.+)\) · ", weaker.locator("output").inner_text())[1]
    assert float(value) == pytest.approx(high, rel=0.005)

    page.get_by_role("combobox", name="Scale", exact=True).select_option("own")
    page.get_by_role("combobox", name="Scale", exact=True).select_option("shared")
    expect(page).to_have_url(re.compile("look=heat-greys-55-None-shared"))
    stronger = ("Chelsea", "China")[extents.index(max(extents, key=lambda extent: extent[1]))]
    page.get_by_role("button", name=stronger).click()
    settled(page, 2)
    expect(page.locator(WALL).first.locator(".scale")).to_have_text(f"0{float(f'{high:.3g}'):g}shared")


def middle(cell):
    """The grey levels in the middle of the crop."""
    shown = pixels(cell)[..., 0]
    height, width = shown.shape
    side = height // 4
    return shown[height // 2 - side : height // 2 + side, width // 2 - side : width // 2 + side]


def test_phone(visit):
    """The views fit, the readout is one line inside the picture, and the button needs no hover."""
    page = visit(
        "/?samples=china&methods=grad-cam&look=wipe-inferno-55-None-shared",
        viewport={"width": 390, "height": 844},
        color_scheme="dark",
        has_touch=True,
        is_mobile=True,
    )
    settled(page, 1)
    figure = page.locator(WALL)
    assert (
        figure.get_by_role("button", name="Full screen").evaluate("node => getComputedStyle(node).opacity")
        == "1"
    )
    height = figure.bounding_box()["height"]
    figure.locator("canvas[data-cell]").tap(position={"x": 90, "y": 80})
    readout = figure.locator("output")
    expect(readout).to_contain_text("cut here: about")
    assert readout.bounding_box()["height"] < 24
    assert figure.bounding_box()["height"] == height
    divided(page, 50)  # a tap reads a value and leaves the divider alone
    views = page.get_by_role("radio", name=re.compile("^(Overlay|Outline)$")).all()
    for view in (*views, page.get_by_role("combobox", name="Scale", exact=True)):
        area = view.bounding_box()
        assert 0 <= area["x"] < area["x"] + area["width"] <= 390
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
