"""A researcher's job in a browser: six pictures against eight methods, taken away and made again in the shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import DEVICES, choose, fits, photograph, settled, sidebar
from PIL import Image
from playwright.sync_api import expect

ROOT = Path(__file__).parents[1]
SAMPLES = ("Coffee", "Rocket", "Astronaut", "China")  # beside Chelsea, which is there at first, and an upload
# Beside Grad-CAM and Libra-CAM.
METHODS = ("Grad-CAM++", "Layer-CAM", "LIFT-CAM", "Eigen-CAM", "Fake-CAM", "Random")
SHOWN = 4  # pictures on a page of the wall


@pytest.fixture(scope="module")
def remake(tmp_path_factory):
    """Has the shell make a bundle again, unless it was that very bundle; what the command said."""
    said = {}

    def command(bundle):
        if bundle not in said:
            folder = tmp_path_factory.mktemp("bundle")
            (folder / "bundle.zip").write_bytes(bundle)
            done = subprocess.run(
                [sys.executable, "-m", "explorer", "remake", "bundle.zip", "--out", "again"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            said[bundle] = done.stdout
        return said[bundle]

    return command


@pytest.mark.parametrize("device", DEVICES)
def test_a_bundle_of_the_page_is_made_again_in_the_shell(visit, remake, device):
    page = visit(**DEVICES[device])
    settled(page, 2)
    with sidebar(page, device) as controls:
        for name in (*SAMPLES, *METHODS):
            controls.get_by_role("button", name=name, exact=True).click()
        choose(page, controls, photograph("coffee", (300, 420)))
    across, pictures = len(METHODS) + 2, len(SAMPLES) + 2
    settled(page, SHOWN * across)
    page.get_by_text(f"{SHOWN + 1}–{pictures}", exact=True).click()
    settled(page, (pictures - SHOWN) * across)
    page.get_by_text("Take away").click()
    expect(page.get_by_text("Not ready yet")).to_have_count(0)
    page.get_by_role("button", name="Make the bundle").click()
    expect(page.get_by_test_id("stMain")).to_contain_text("Bundle (")
    archive = page.get_by_role("button", name="Bundle (")
    expect(archive).to_be_visible()
    expect(page.get_by_text("your uploads (coffee.jpg) only while this server has room")).to_be_visible()
    fits(page)
    with page.expect_download() as download:
        archive.click()
    bundle = download.value.path().read_bytes()
    with page.expect_download() as download:
        page.get_by_role("button", name="Figure (PNG)").click()
    with Image.open(download.value.path()) as figure:
        assert figure.width == round(17 / 2.54 * 300)
    assert f"All {pictures * across} maps are bit-equal" in remake(bundle)
