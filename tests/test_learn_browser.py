"""The Learn page in a real browser against a real server: a class taught from the keyboard."""

import re

from browser import idle
from playwright.sync_api import expect

from explorer.ui.lessons import LESSONS

PATH = "/learn?library=on-the-fly"


def taught(page, number):
    """Waits until a lesson stands there with its formula and its numbers, and nothing is being made."""
    name = f"{number}. {LESSONS[number - 1].title}"
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(page.locator(".katex-display")).to_have_count(2)
    expect(page.get_by_text(LESSONS[number - 1].task)).to_be_visible()
    idle(page)
    cut = "found => found.filter((formula) => formula.scrollWidth > formula.clientWidth + 3).length"
    assert page.locator(".katex-display").evaluate_all(cut) == 0


def numbers(page):
    return page.locator(".katex-display").nth(1)


def test_the_longest_formula_fits_its_narrowest_column(visit):
    taught(visit(f"{PATH}&lesson=5", viewport={"width": 768, "height": 1000}), 5)


def test_a_lesson_is_given_by_the_keyboard(visit):
    """From the first page on, in the light, and from the sixth lesson on in the dark."""
    page = visit()
    page.get_by_role("link", name="Learn", exact=True).click()
    taught(page, 1)
    expect(page.get_by_test_id("stSidebar")).to_be_visible()
    small = page.get_by_text("Try it.").evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
    page.keyboard.press("ArrowRight")  # not presenting yet
    page.get_by_text("Presenter mode").click()
    expect(page.get_by_test_id("stSidebar")).to_be_hidden()
    large = page.get_by_text("Try it.").evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
    assert large > 1.2 * small
    taught(page, 1)
    for number in range(2, 11):
        page.keyboard.press("PageDown" if number % 2 else "ArrowRight")
        taught(page, number)
        if number == 6:
            page.emulate_media(color_scheme="dark")
        if number == 2:
            _browse_channels(page)
        elif number == 3:
            _add_channels(page)
        elif number == 9:
            _play(page)
        elif number == 10:
            _change_metric(page)
    page.keyboard.press("PageDown")  # there is no eleventh
    page.get_by_test_id("stMain").locator("h2").click()
    page.keyboard.press("ArrowLeft")
    taught(page, 9)
    page.keyboard.press("PageUp")
    taught(page, 8)
    expect(page).to_have_url(re.compile(r"lesson=8.*present=yes|present=yes.*lesson=8"))
    again = visit("/" + page.url.split("/", 3)[3])
    taught(again, 8)
    expect(again.get_by_test_id("stSidebar")).to_be_hidden()
    again.get_by_text("Presenter mode").click()
    expect(again.get_by_test_id("stSidebar")).to_be_visible()
    again.get_by_test_id("stMain").get_by_role("button", name="Back").click()
    taught(again, 7)


def _browse_channels(page):
    """The arrows belong to the slider while it has the focus; the clicker's keys move on all the same."""
    before = numbers(page).inner_text()
    slider = page.get_by_role("slider", name="Channel, from the strongest")
    slider.press("ArrowRight")
    expect(slider).to_have_value("2")
    expect(numbers(page)).not_to_have_text(before)
    taught(page, 2)


def _add_channels(page):
    page.get_by_role("slider", name="Channels in the sum").press("Home")
    expect(page.get_by_text("1 of 1280 channels are in the sum.")).to_be_visible()
    taught(page, 3)
    page.get_by_test_id("stMain").locator("h2").click()


def _play(page):
    """In the browser alone: the server hears nothing of it."""
    frame = page.get_by_role("img", name="The map of the search")
    first = frame.get_attribute("src")
    page.evaluate(
        """() => {
            const send = WebSocket.prototype.send;
            window.sent = 0;
            WebSocket.prototype.send = function (...data) { window.sent++; return send.apply(this, data); };
        }"""
    )
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_text("Iteration 50 of 50")).to_be_visible()
    assert frame.get_attribute("src") != first
    page.get_by_role("slider", name="Iteration").press("Home")
    expect(page.get_by_text("Iteration 0 of 50")).to_be_visible()
    assert frame.get_attribute("src") == first
    assert page.evaluate("window.sent") == 0
    page.get_by_test_id("stMain").locator("h2").click()


def _change_metric(page):
    expect(page.get_by_text("Fake-CAM is best")).to_be_visible()
    page.get_by_role("radio", name="ADCC", exact=True).click()
    expect(page.get_by_text("By ADCC Fake-CAM is not best")).to_be_visible()


def test_phone(visit):
    """Nothing is wider than a phone, from the first formulas on."""
    page = visit(PATH + "&present=yes", viewport={"width": 390, "height": 844}, color_scheme="dark")
    for number in range(1, 5):
        taught(page, number)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
        expect(page.get_by_test_id("stMain").locator("canvas").first).to_be_visible()
        shown = page.locator("[data-testid=stMain] :is(canvas, img, button, table, .js-plotly-plot)")
        right = max(shown.evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().right)"))
        assert right <= 391, number
        page.keyboard.press("PageDown")
