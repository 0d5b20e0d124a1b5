"""The Libra lab in a real browser against a real server."""

import re

from browser import DRAWN, idle
from playwright.sync_api import expect

PATH = "/lab?methods=libra-cam&metrics=average-gain&library=on-the-fly&libra-cam.size=12"
CURVE = "chart => Array.from(chart.data[0].y)"


def measured(page):
    """Waits until the figures are there and nothing is being made."""
    expect(page.get_by_text("All references are measured")).to_be_visible()
    expect(page.get_by_text(re.compile("[Mm]easuring …"))).to_have_count(0)
    idle(page)


def test_the_size_slider_changes_map_figures_and_curve(visit):
    """And stands in the sidebar of the other pages, on which it may have been changed."""
    page = visit(PATH.replace("/lab", "/").replace("size=12", "size=11"))
    beside = page.get_by_test_id("stSidebar").get_by_role("slider", name="Libra-CAM: library size")
    beside.press("ArrowRight")
    expect(page).to_have_url(re.compile("libra-cam.size=12"))
    page.get_by_role("link", name="Libra lab").click()
    measured(page)
    slider = page.get_by_test_id("stMain").get_by_role("slider", name="Libra-CAM: library size")
    expect(slider).to_have_value("12")
    figure = page.locator(".cam-strip li b")
    expect(figure).to_have_text(re.compile(r"\d"))
    gain, curve = figure.inner_text(), page.locator(".js-plotly-plot").evaluate(CURVE)
    assert len(curve) == 10
    shown = page.locator(DRAWN).first, page.locator(".cam-gallery img").first
    before = shown[0].evaluate("canvas => canvas.toDataURL()"), shown[1].get_attribute("src")
    slider.press("Home")
    expect(page.get_by_text("1 of 1 references kept")).to_be_visible()
    measured(page)
    after = shown[0].evaluate("canvas => canvas.toDataURL()"), shown[1].get_attribute("src")
    assert after[0] != before[0]
    assert after[1] != before[1]
    expect(figure).to_have_text(re.compile(rf"^(?!{gain}$).*\d"))
    page.wait_for_function(
        f"before => (curve => curve.length === 10 && curve.join() !== before.join())(({CURVE})"
        "(document.querySelector('.js-plotly-plot')))",
        arg=curve,
    )
    page.get_by_role("link", name="Compare").click()
    expect(beside).to_have_value("1")


def test_a_key_that_is_held_on_the_slider(visit):
    """No press is lost, and the link and the price in the sidebar follow."""
    page = visit(PATH)
    measured(page)
    slider = page.get_by_role("slider", name="Libra-CAM: library size")
    for key in ("Right", "Right", "Left", "Left") * 10 + ("Right",) * 3:
        slider.press(f"Arrow{key}")
    expect(slider).to_have_value("15")
    expect(page.get_by_text("of 15 references kept")).to_be_visible()
    expect(page).to_have_url(re.compile("libra-cam.size=15"))
    again = visit("/" + page.url.split("/", 3)[3])
    measured(again)
    price = re.compile(r"^About \d+ forward passes a picture")
    expect(page.get_by_text(price)).to_contain_text(
        price.search(again.get_by_text(price).inner_text()).group()
    )


def test_exclude_and_pin_by_a_click(visit):
    page = visit(PATH + "&section=references")
    measured(page)
    cards = page.locator("li:has(.acts)")
    expect(cards).to_have_count(12)
    [first, second] = (cards.nth(place).locator(".acts button").first for place in (0, 5))
    out, favourite = (button.get_attribute("aria-label").removeprefix("Pin ") for button in (first, second))
    page.get_by_role("button", name=f"Exclude {out}", exact=True).click()
    expect(page.locator("li.excluded")).to_contain_text(out)
    expect(page.get_by_text("You have chosen: 1 excluded.")).to_be_visible()
    page.get_by_role("button", name=f"Pin {favourite}", exact=True).focus()
    page.keyboard.press("Enter")
    expect(cards.first).to_contain_text("kept: pinned")
    expect(cards.first).to_contain_text(favourite)
    expect(page.get_by_role("button", name=f"Pin {favourite}", exact=True)).to_be_focused()
    expect(page).to_have_url(re.compile("pinned=.*excluded=|excluded=.*pinned="))
    again = visit("/" + page.url.split("/", 3)[3])
    expect(again.locator("li.excluded")).to_contain_text(out)
    expect(again.locator("li.pinned")).to_contain_text(favourite)
    again.get_by_role("button", name="Forget pins and exclusions").click()
    expect(again.locator("li:is(.pinned, .excluded)")).to_have_count(0)
    expect(again).not_to_have_url(re.compile("pinned|excluded"))


def test_phone(visit):
    """Nothing is wider than a phone, in any section."""
    page = visit(PATH, viewport={"width": 390, "height": 844}, color_scheme="dark")
    measured(page)
    for section, words in (
        ("References", "Left the reference"),
        ("How many references", re.compile("enough here")),
        ("Linear approximation", "On average the prediction is off"),
        ("Side by side", "Pearson's correlation of the maps"),
    ):
        page.get_by_role("radio", name=section, exact=True).click()
        expect(page.get_by_text(words)).to_be_visible()
        measured(page)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
        shown = page.locator("[data-testid=stMain] :is(canvas, img, button, .js-plotly-plot)")
        assert (
            max(shown.evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().right)")) <= 391
        )
