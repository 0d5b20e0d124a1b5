"""Figures under the maps and the Evaluate page, in a real browser against a real server."""

import io
import json
import re
import zipfile
from pathlib import Path
from urllib.parse import urljoin

from browser import choose, photograph, settled
from playwright.sync_api import expect

HEIGHTS = """
window.heights = [];
const watch = () => {
  document.querySelectorAll(".cam-strip").forEach((strip, position) => {
    const state = strip.querySelector("p").textContent.split(/[ ,]/)[0];
    ((window.heights[position] ??= {})[state] ??= []).push(strip.offsetHeight);
  });
  requestAnimationFrame(watch);
};
requestAnimationFrame(watch);
"""


def test_the_strip_comes_without_a_jump(visit):
    """What stands below a strip stays where it is when its figures come."""
    page = visit("/evaluate")
    page.add_init_script(HEIGHTS)
    link = "/?methods=grad-cam,fake-cam&metrics=average-gain,average-drop,adcc,insertion,deletion"
    page.goto(urljoin(page.url, link))
    strips = page.locator(".cam-strip")
    expect(strips).to_have_count(2)
    expect(strips.first).to_contain_text("In %, plain map")
    expect(strips.last).to_contain_text("In %, plain map")
    settled(page, 2)
    first, last = page.evaluate("window.heights")
    assert first.keys() == {"Measuring", "In"}
    for seen in (first, last):
        assert {*seen.get("Measuring", [])[-1:], *seen["In"]} == {seen["In"][0]}
    page.get_by_role("button", name="Download").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Manifest (.json)").click()
    [entry] = json.loads(Path(download.value.path()).read_text())["explanations"]
    assert set(entry["figures"]["plain"]) == {
        "average-gain",
        "average-drop",
        "adcc",
        "insertion",
        "deletion",
    }
    page.keyboard.press("Escape")
    assert strips.first.locator("li.best").count() + strips.last.locator("li.best").count() > 0

    item = strips.first.locator("li").first
    tooltip = item.get_by_role("tooltip", include_hidden=True)
    expect(tooltip).to_be_hidden()
    item.focus()
    expect(tooltip).to_be_visible()
    expect(tooltip).to_contain_text("relu(o - p) / (1 - p)")


def test_an_evaluation_to_its_report(visit):
    page = visit("/evaluate?samples=chelsea,coffee&methods=grad-cam,fake-cam&controls=no")
    expect(page.get_by_text("2 pictures x 2 methods")).to_be_visible()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("button", name="Stop")).to_be_enabled()
    table = page.locator(".cam-table")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("button", name="Run")).to_be_enabled()
    page.get_by_text("Calibrated", exact=True).last.click()
    expect(page.get_by_role("region", name="Means of calibrated maps")).to_be_visible()
    page.get_by_text("Show the report").click()
    report = page.frame_locator("iframe[title='The report of this evaluation'], iframe").first
    expect(report.get_by_role("heading", name="Best and worst pictures")).to_be_visible()
    expect(report.locator("#spread .main-svg").first).to_be_visible()
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="report.html").click()
    assert "Evaluation of attribution methods" in Path(download.value.path()).read_text("utf-8")
    with page.expect_download() as download:
        page.get_by_role("button", name="summary.json").click()
    assert json.loads(Path(download.value.path()).read_text())["pictures"] == 2

    again = visit("/" + page.url.split("/", 3)[3])
    expect(again.get_by_role("region", name="Means of calibrated maps")).to_be_visible()
    phone = visit("/" + page.url.split("/", 3)[3], viewport={"width": 390, "height": 844})
    expect(phone.get_by_role("region", name="Means of calibrated maps")).to_be_visible()
    assert phone.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_a_zip_file(visit):
    page = visit("/evaluate?data=zip&methods=fake-cam&controls=no")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("photos/mine.jpg", photograph("coffee")["buffer"])
        packed.writestr("photos/labels.csv", "file,class_index\nmine.jpg,967\n")
    uploader = page.get_by_test_id("stMain").get_by_test_id("stFileUploader")
    choose(page, uploader, {"name": "bad.zip", "mimeType": "application/zip", "buffer": b"no ZIP file"})
    expect(page.get_by_text("The ZIP file is damaged")).to_be_visible()
    choose(page, uploader, {"name": "mine.zip", "mimeType": "application/zip", "buffer": buffer.getvalue()})
    expect(page.get_by_text("1 picture x 1 method")).to_be_visible()
    page.get_by_text("The given one").click()
    page.get_by_role("button", name="Run").click()
    evaluation = page.get_by_role("combobox", name="Evaluation")
    expect(evaluation).to_have_value(re.compile("mine.zip: 1 picture"))
    expect(page.get_by_text("--classes given")).to_be_visible()
