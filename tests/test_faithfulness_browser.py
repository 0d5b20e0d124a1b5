"""The Faithfulness page in a real browser against a real server."""

import re

import pytest
from browser import idle
from playwright.sync_api import expect

PATH = "/faithfulness?methods=grad-cam,grad-cam%2B%2B&controls=no"


def measured(page):
    """Waits until the figures are there and nothing is being made."""
    expect(page.get_by_text("Bold is the best of the methods")).to_be_visible()
    expect(page.get_by_text("measuring …")).to_have_count(0)
    idle(page)
    expect(page.locator("canvas.drawable[data-box]")).to_be_visible()


def energy(page):
    """The table beside the box, as a screen reader meets it."""
    return page.get_by_test_id("stDataFrame").nth(1).locator("tbody")


def hold(page, key, times):
    """A key that is held until it has repeated so often."""
    for _ in range(times):
        page.keyboard.down(key)
    page.keyboard.up(key)


def test_scrub(visit):
    """The slider marks another step, shows other pictures and says their probability."""
    page = visit(PATH)
    measured(page)
    picture = page.get_by_alt_text(re.compile(r"of the pixels deleted in the order of Grad-CAM$"))
    before = picture.get_attribute("src")
    expect(picture).to_have_attribute("alt", re.compile("25.0%"))
    page.get_by_role("slider", name="Pixels changed").press("End")
    everything = page.get_by_alt_text(
        "chelsea with 100.0% of the pixels deleted in the order of Grad-CAM", exact=True
    )
    expect(everything).to_be_visible()
    assert everything.get_attribute("src") != before
    page.get_by_text("Pixels inserted", exact=True).click()
    expect(page.get_by_alt_text(re.compile("100.0% of the pixels inserted"))).to_have_count(2)
    for part in ("step=100", "side=insertion"):
        expect(page).to_have_url(re.compile(part))


def test_a_table_that_misses_the_width_of_the_window_does_not_widen_the_page(visit):
    page = visit(PATH)
    measured(page)
    table = page.get_by_test_id("stDataFrameResizable").first
    table.evaluate("table => (table.style.width = table.style.maxWidth = '3000px')")
    wide, room = page.get_by_test_id("stMain").evaluate("main => [main.scrollWidth, main.clientWidth]")
    assert wide <= room


def test_draw_a_box(visit):
    """By pointer and by keys; the energy follows, and the link restores the box."""
    page = visit(PATH)
    measured(page)
    canvas = page.locator("canvas.drawable")
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()

    def point(across, down):
        page.mouse.move(area["x"] + across * area["width"], area["y"] + down * area["height"])

    point(0.002, 0.002)
    page.mouse.down()
    point(0.5, 0.5)
    point(0.998, 0.998)
    page.mouse.up()
    expect(page).to_have_url(re.compile("box.chelsea=0"))
    expect(page.get_by_text("covers 100.0% of what the network sees")).to_be_visible()
    expect(energy(page)).to_contain_text("Grad-CAM100true")

    point(0.3, 0.3)
    page.mouse.down()
    point(0.6, 0.7)
    page.keyboard.press("Escape")
    page.mouse.up()
    expect(canvas).to_have_attribute("data-box", re.compile(r"^0[.\d]*,0[.\d]*,(1|0\.99\d?),(1|0\.99\d?)$"))

    canvas.focus()
    page.keyboard.down("Shift")
    hold(page, "ArrowLeft", 20)
    page.keyboard.up("Shift")
    hold(page, "ArrowRight", 5)
    moved = re.compile(r"^0\.1[.\d]*,0[.\d]*,0\.(69|70?)\d?,(1|0\.99\d?)$")
    expect(canvas).to_have_attribute("data-box", moved)
    expect(page).to_have_url(re.compile(r"box\.chelsea=0\.1"))
    expect(page.get_by_text("covers 100.0% of what the network sees")).to_have_count(0)

    again = visit("/" + page.url.split("/", 3)[3])
    measured(again)
    expect(again.locator("canvas.drawable")).to_have_attribute("data-box", canvas.get_attribute("data-box"))
    expect(energy(again)).to_have_text(energy(page).text_content())


def test_sanity_check(visit):
    page = visit(PATH)
    measured(page)
    page.get_by_role("button", name="Run the sanity check").click()
    strip = page.get_by_alt_text(re.compile("Grad-CAM map of a network that is random after"))
    expect(strip).to_have_count(4)
    expect(page).to_have_url(re.compile("sanity=grad-cam"))
    again = visit("/" + page.url.split("/", 3)[3])
    expect(again.get_by_alt_text(re.compile("Grad-CAM map of a network that is random after"))).to_have_count(
        4
    )


def test_difference_of_two_maps(visit):
    page = visit(PATH + "&agreement=cut")
    measured(page)
    shown = page.get_by_alt_text("Where the maps of Grad-CAM and Grad-CAM++ differ on chelsea")
    expect(shown).to_be_visible()
    expect(page.get_by_text("the same pixels are kept at the recommended cuts")).to_be_visible()
    expect(page.locator(".heatmaplayer .hm image")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(visit, scheme):
    """Nothing is wider than a phone."""
    page = visit(PATH, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    measured(page)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    for node in page.locator("[data-testid=stMain] :is(canvas, img, .js-plotly-plot, .cam-gallery)").all():
        box = node.bounding_box()
        assert box is None or box["x"] + box["width"] <= 391
