"""The Libraries page, without a browser and in one."""

import io
import json
import os
import re
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
import torch
from browser import choose, idle, photograph
from pages import control, link, open_page, settle
from PIL import Image
from playwright.sync_api import TimeoutError, expect
from test_library import hand_made, stopping

from explorer.backbones import load
from explorer.images import sample
from explorer.library import Recipe, build, installed, merge, opened, textures, unfinished
from explorer.library.overview import common, plane, tally
from explorer.render.overlay import contact_sheet
from explorer.ui.building import key_of
from explorer.ui.cells import plain
from explorer.ui.state import service


def press(app, label):
    settle(app.run())  # once more, for what ended while the page was drawn
    [button] = [button for button in app.button if button.label == label]
    button.click()
    return settle(app.run())


def tables(app):
    return [element.proto.body for element in app.get("html") if "cam-libraries" in element.proto.body]


@pytest.mark.usefixtures("home")
class TestPage:
    def test_textures_are_built_looked_at_and_deleted(self):
        app = open_page("libraries", made__of="x", **{"made of": "textures", "textures": "6"})
        assert "None is built yet" in " ".join(caption.value for caption in app.caption)
        app = press(app, "Build")
        [info] = installed()
        assert (info.name, info.records, info.source) == ("6 textures", 6, "generated textures")
        whole, offers = tables(app)[:2]
        assert "6 textures" in whole
        assert info.fingerprint[:8] in whole
        assert "Recognised rightly" in offers
        [chart] = [
            json.loads(one.proto.json) for one in app.get("bidi_component") if "points" in one.proto.json
        ]
        assert len(chart["points"]) == len(chart["titles"]) == 6
        app = press(app, "Verify")
        assert [element.value for element in app.success] == ["Every file holds what was written."]
        (info.folder / info.shards[0].name).write_bytes(b"damaged")
        app = open_page("libraries")
        app = press(app, "Verify")
        assert any(info.shards[0].name in error.value for error in app.error)
        app = press(app, "Delete it")
        assert not installed()

    def test_the_pictures_of_the_page_with_limits(self):
        app = open_page("libraries", samples="chelsea,coffee,rocket", most="2", balanced="yes")
        app = press(app, "Build")
        [info] = installed()
        assert (info.name, info.records, info.source) == ("my pictures", 2, "pictures of the page")
        assert link(app)["most"] == "2"

    def test_of_a_data_set_with_parts_the_one_for_training(self, tmp_path, monkeypatch):
        for part, names in (("train", ("chelsea", "coffee", "astronaut")), ("val", ("rocket", "motorcycle"))):
            (tmp_path / "photos" / part).mkdir(parents=True)
            for name in names:
                sample(name).image.save(tmp_path / "photos" / part / f"{name}.jpg")
        (tmp_path / "flat").mkdir()
        sample("rocket").image.save(tmp_path / "flat" / "rocket.jpg")
        monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
        app = press(open_page("libraries", **{"made of": "set:photos"}), "Build")
        [info] = installed()
        assert (info.name, info.source, info.records) == ("photos, train", "photos, train", 3)
        assert "split" not in link(app)
        control(app, "selectbox", "split").set_value("val")
        app = press(settle(app.run()), "Build")
        assert {info.name: info.records for info in installed()} == {"photos, train": 3, "photos, val": 2}
        assert link(app)["split"] == "val"
        again = open_page("libraries", **link(app))
        assert control(again, "selectbox", "split").value == "val"
        app = open_page("libraries", **{"made of": "set:photos", "split": "test"})
        assert control(app, "selectbox", "split").value == "train"
        app = open_page("libraries", **{"made of": "set:flat"})
        assert "Part of the data set" not in [box.label for box in app.selectbox]

    def test_classes_that_are_not_those_of_the_network_may_be_ignored(self, tmp_path, monkeypatch):
        for folder, name in (("cats", "chelsea"), ("rockets", "rocket")):
            (tmp_path / "pets" / folder).mkdir(parents=True)
            sample(name).image.save(tmp_path / "pets" / folder / f"{name}.jpg")
        monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
        app = open_page("libraries", **{"made of": "set:pets"})
        assert "the classes may be ignored" in app.error[0].value
        [ignore] = [toggle for toggle in app.toggle if toggle.label == "Ignore the classes"]
        ignore.set_value(True)
        app = press(settle(app.run()), "Build")
        assert not app.error
        [info] = installed()
        library = opened(info)
        assert library.labels.tolist() == library.predicted.tolist()
        assert library.ids == ("cats/chelsea.jpg", "rockets/rocket.jpg")
        assert link(app)["no.labels"] == "yes"

    def test_an_unfinished_build_is_told_and_given_up(self):
        cut = load("efficientnet_lite0").cut()
        with pytest.raises(Exception, match="cannot be written"):
            build([cut], Recipe("half", "textures"), textures(5), stopping(1))
        assert [begun.name for begun in unfinished()] == ["half"]
        app = open_page("libraries")
        assert any("half" in text.value and "not finished" in text.value for text in app.markdown)
        press(app, "Give up")
        assert not unfinished()

    def test_one_whose_index_cannot_be_read_is_told_and_deleted(self):
        [info] = build([load("efficientnet_lite0").cut()], Recipe("part", "textures"), textures(4))
        folder = merge([info], Recipe("whole", "textures")).folder
        (folder / "index.json").write_text("no index")
        app = open_page("libraries")
        assert any("cannot be read" in text.value and folder.name[:12] in text.value for text in app.markdown)
        press(app, "Delete")
        assert not folder.exists()
        assert [info.name for info in installed()] == ["part"]

    def test_what_goes_for_want_of_room_is_told(self, monkeypatch):
        cut = load("efficientnet_lite0").cut()
        [old] = build([cut], Recipe("old", "textures"), textures(4))
        for path in old.folder.iterdir():
            os.utime(path, (1, 1))
        app = open_page("libraries", made__of="x", **{"made of": "textures", "textures": "5"})
        assert any(" MB of 20 GB" in caption.value for caption in app.caption)
        monkeypatch.setenv("EXPLORER_LIBRARY_GB", str(1.5 * old.bytes / 1e9))
        app = press(app, "Build")
        assert [info.name for info in installed()] == ["5 textures"]
        [told] = app.info
        assert told.value.startswith("Removed")
        assert plain(f"old (efficientnet_lite0 at {old.layer})") in told.value

    def test_a_wrong_budget_is_told(self, monkeypatch):
        monkeypatch.setenv("EXPLORER_LIBRARY_GB", "much")
        [error] = open_page("libraries").error
        assert plain("EXPLORER_LIBRARY_GB is 'much'") in error.value

    def test_two_are_compared(self):
        cut = load("efficientnet_lite0").cut()
        [small] = build([cut], Recipe("small", "textures"), textures(4))
        [large] = build([cut], Recipe("large", "textures"), textures(6))
        query = {"shown library": key_of(large), "beside library": key_of(small)}
        app = open_page("libraries", **query)
        assert "4 pictures are in both" in tables(app)[1]

    def test_what_is_made_while_the_page_is_drawn_is_drawn_by_a_poll(self, monkeypatch):
        """What is above was drawn before it was there."""
        app = open_page("libraries")
        made = threading.Event()
        job = service().run(
            ("library", "quick"), lambda engine, job: made.wait(60) and ("one", []), "visitor"
        )
        app.session_state["lasting library"] = job
        polls, fragment = [], st.fragment

        def ends(*arguments):
            made.set()
            assert job.wait(60)

        def record(poll, run_every):
            polls.append(poll)
            return fragment(poll, run_every=run_every)

        monkeypatch.setattr("explorer.ui.libraries.import_form", ends)
        monkeypatch.setattr("explorer.ui.live.st.fragment", record)
        app.run()
        assert len(polls) == 1
        app.run()
        assert len(polls) == 1

    @pytest.mark.parametrize("value", ["../../etc", "x" * 500, "<script>"])
    def test_hostile_links_give_defaults(self, value):
        query = {
            "shown library": value,
            "beside library": value,
            "made of": value,
            "split": value,
            "most": value,
            "keep": value,
        }
        app = open_page("libraries", **query)
        assert not app.exception


def test_what_a_library_offers():
    chances = np.float32([[0.9, 0.1], [0.3, 0.7], [0.85, 0.15], [0.6, 0.4]])
    library = hand_made(chances, [0, 0, 1, 0], digests=("a", "b", "c", "d"))
    other = hand_made(chances[:2], [0, 1], digests=("d", "x"))
    found = tally(library)
    assert (found.records, found.classes, found.right, found.confident) == (4, 2, 2, 1)
    assert found.confidence == pytest.approx(0.7)  # the lower of the two in the middle
    assert common(library, other) == 1


def test_the_plane_is_that_of_the_singular_vectors():
    generator = np.random.default_rng(0)
    activations = torch.from_numpy(generator.normal(size=(20, 7, 2, 2))).half()
    library = hand_made(np.full((20, 2), 0.5, np.float32), np.zeros(20, int), activations=activations)
    points = activations.float().mean((2, 3)).half().double().numpy()
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    centred = points - points.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    found = plane(library)
    assert found.indices.tolist() == list(range(20))
    assert np.abs(found.places.numpy()) == pytest.approx(np.abs(left[:, :2] * singular[:2]), abs=1e-3)
    assert found.shares == pytest.approx(tuple(singular[:2] ** 2 / (singular**2).sum()), abs=1e-3)


def test_a_contact_sheet_has_every_thumbnail_in_its_place():
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250)]
    thumbnails = [np.full((9, 9, 3), colour, np.uint8) for colour in colours]
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(thumbnails, 16, 2)))).astype(int)
    assert sheet.shape == (48, 32, 3)
    for number, colour in enumerate(colours):
        row, column = divmod(number, 2)
        assert np.abs(sheet[row * 16 + 8, column * 16 + 8] - colour).max() < 12


def pack(names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(f"{name}.jpg", photograph(name, (320, 240))["buffer"])
    return {"name": "photos.zip", "mimeType": "application/zip", "buffer": file.getvalue()}


def many(count):
    """A ZIP file of so many small pictures of noise."""
    file, generator = io.BytesIO(), np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            picture = io.BytesIO()
            Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(picture, "PNG")
            archive.writestr(f"{number:03}.png", picture.getvalue())
    return {"name": "many.zip", "mimeType": "application/zip", "buffer": file.getvalue()}


def _from_a_zip_file(page):
    """Chooses where the pictures come from, again where the page moves meanwhile, which closes a list that is open."""
    idle(page)
    option = page.get_by_role("option", name="A ZIP file")
    for _ in range(10):
        page.get_by_role("combobox", name="Pictures").click()
        try:
            option.click(timeout=5000)
        except TimeoutError:
            continue
        break
    expect(page.get_by_role("combobox", name="Pictures")).to_have_value("A ZIP file")


@pytest.mark.parametrize("server", [{}], indirect=True)  # one of its own, on which nothing is built yet
def test_from_a_zip_file_to_another_name_and_back(visit):
    """Build of an upload, export, delete, import."""
    page = visit("/libraries")
    _from_a_zip_file(page)
    uploader = page.get_by_test_id("stFileUploader")
    choose(page, uploader.filter(has_text="ZIP file"), pack(["chelsea", "coffee", "rocket", "astronaut"]))
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("photos")
    page.get_by_role("button", name="Build").click()
    table = page.get_by_role("region", name="Reference libraries")
    expect(table.get_by_role("row").filter(has_text="photos")).to_contain_text("efficientnet_lite0")
    expect(page.locator("svg[role=application] circle")).to_have_count(4)
    chart = page.get_by_role("application", name="Plane of the library photos")
    told = page.locator("figcaption")
    expect(told.locator("div")).to_have_css("background-image", "none")
    place = chart.locator("circle").nth(2).get_attribute("cx")
    chart.locator("circle").nth(2).hover()
    expect(chart.locator("circle.at")).to_have_attribute("cx", place)
    expect(told.locator("div")).to_have_css("background-image", re.compile("image/jpeg"))
    expect(told).to_contain_text(".jpg")
    said = told.inner_text()
    chart.focus()
    chart.press("ArrowRight")
    expect(told).not_to_have_text(said)
    expect(told).to_contain_text(".jpg")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    file = Path(download.value.path()).read_bytes()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(table.get_by_role("row").filter(has_text="photos")).to_have_count(0)
    expect(page.get_by_role("button", name="Verify")).to_have_count(0)
    page.get_by_text("Import a library that was exported elsewhere").click()
    exported = {"name": "photos.zip", "mimeType": "application/zip", "buffer": file}
    choose(page, uploader.filter(has_text="Exported library"), exported)
    page.get_by_role("textbox", name="Another name").fill("back again")
    page.get_by_role("textbox", name="Another name").press("Enter")
    page.get_by_role("button", name="Import").click()
    expect(table.get_by_role("row").filter(has_text="back again")).to_contain_text("photos.zip")
    phone = visit("/libraries", viewport={"width": 390, "height": 844})
    expect(phone.get_by_role("region", name="Reference libraries")).to_be_visible()
    assert phone.evaluate("document.scrollingElement.scrollWidth") <= 390


@pytest.mark.parametrize("server", [{}], indirect=True)
def test_a_build_tells_its_progress_pauses_and_goes_on(visit):
    """Of so many pictures that it is far from its end when it is paused."""
    page = visit("/libraries")
    _from_a_zip_file(page)
    choose(page, page.get_by_test_id("stFileUploader").filter(has_text="ZIP file"), many(400))
    build, pause = (page.get_by_role("button", name=name, exact=True) for name in ("Build", "Pause"))
    build.click()
    progress = page.get_by_test_id("stProgress")
    expect(progress).to_contain_text(re.compile(r"Building many, \d+ MB, .*\d.* left: [1-9]\d* of 400"))
    pause.click()
    begun = page.get_by_text("The library 'many' for efficientnet_lite0")
    expect(begun).to_contain_text("is not finished (many.zip, 400 pictures)")
    expect(progress).to_have_count(0)
    expect(pause).to_be_disabled()
    table = page.get_by_role("region", name="Reference libraries")
    expect(table.get_by_role("row").filter(has_text="many")).to_have_count(0)
    build.click()
    expect(table.get_by_role("row").filter(has_text="many")).to_contain_text("400")
    expect(begun).to_have_count(0)
