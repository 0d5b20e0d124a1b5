"""A researcher's job in a browser: six pictures against eight methods, taken away and made again in the shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import DEVICES, choose, fits, photograph, settled
from PIL import Image
from playwright.sync_api import expect

ROOT = Path(__file__).parents[1]
WALL = (
    "chelsea,coffee,rocket,astronaut,china",
    "grad-cam,grad-cam%2B%2B,layer-cam,lift-cam,libra-cam,eigen-cam,fake-cam,random",
)
SMALL = ("chelsea", "grad-cam,random")


@pytest.mark.parametrize(
    ("device", "samples", "methods"), [("light", *WALL), ("dark", *SMALL), ("phone", *SMALL)]
)
def test_a_bundle_of_the_page_is_made_again_in_the_shell(visit, tmp_path, device, samples, methods):
    page = visit(f"/?samples={samples}&methods={methods}&libra-cam.size=3&seed=4&metrics=", **DEVICES[device])
    across, pictures = methods.count(",") + 1, samples.count(",") + 2
    if device == "phone":
        page.get_by_test_id("stExpandSidebarButton").click()
    choose(page, page.get_by_test_id("stSidebar"), photograph("coffee", (300, 420)))
    if device == "phone":
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    settled(page, min(pictures, 4) * across)
    if pictures > 4:
        page.get_by_text(f"5–{pictures}", exact=True).click()
        settled(page, (pictures - 4) * across)
    page.get_by_text("Take away").click()
    expect(page.get_by_text("Not ready yet")).to_have_count(0)
    page.get_by_role("button", name="Make the bundle").click()
    expect(page.get_by_test_id("stMain")).to_contain_text("Bundle (")
    archive = page.get_by_role("button", name="Bundle (")
    expect(page.get_by_text("your uploads (coffee.jpg) only while this server has room")).to_be_visible()
    fits(page)
    with page.expect_download() as download:
        archive.click()
    download.value.save_as(tmp_path / "bundle.zip")
    with page.expect_download() as download:
        page.get_by_role("button", name="Figure (PNG)").click()
    with Image.open(download.value.path()) as figure:
        assert figure.width == round(17 / 2.54 * 300)
    command = [sys.executable, "-m", "explorer", "remake", "bundle.zip", "--out", "again"]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"All {pictures * across} maps are bit-equal" in done.stdout
