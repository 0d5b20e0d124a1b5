"""Makes the pictures of the README from the running explorer: ``python docs/make_pictures.py``."""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"
SAMPLES = ("chelsea", "coffee")
METHODS = ("grad-cam", "grad-cam++", "libra-cam")
WIDTH = 1400
MARGIN = 16
MAXIMUM = 700_000  # bytes
PATIENCE = 300_000  # milliseconds


@contextmanager
def server() -> Iterator[str]:
    """The address of an explorer with an empty home."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "streamlit", "run", "app.py"]
        options = ["--server.headless=true", "--server.address=127.0.0.1", "--server.port=8567"]
        process = subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env={**os.environ, "EXPLORER_HOME": home},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "URL: " in line:
                    yield line.split("URL: ")[1].strip()
                    return
            raise SystemExit("The explorer did not start.")
        finally:
            process.terminate()
            process.wait()


def visit(page: Page, address: str, samples: tuple[str, ...], methods: tuple[str, ...]) -> None:
    """Opens the Compare page and waits until everything is there and nothing is being made."""
    query = urlencode({"samples": ",".join(samples), "methods": ",".join(methods)})
    page.goto(f"{address}/?{query}")
    count = len(samples) * len(methods)
    expect(page.locator("canvas[data-cell][data-look]").nth(count - 1)).to_be_attached()
    expect(page.get_by_text("at the recommended cut")).to_have_count(count)
    expect(page.locator(".js-plotly-plot .scatterlayer .trace").nth(len(methods) - 1)).to_be_attached()
    expect(page.get_by_test_id("stProgress")).to_have_count(0)
    expect(page.locator("figure.dimmed")).to_have_count(0)
    expect(page.get_by_role("combobox", name="Layer")).to_be_enabled()


def compare(page: Page, address: str) -> Image.Image:
    """The rows of the samples and the curves of the first, cut off below them."""
    visit(page, address, ("rocket",), ("libra-cam",))  # loads the network and builds the library
    visit(page, address, SAMPLES, METHODS)
    box = page.locator(".js-plotly-plot").first.bounding_box()
    assert box is not None
    shot = Image.open(io.BytesIO(page.screenshot()))
    return shot.crop((0, 0, WIDTH, min(shot.height, round(box["y"] + box["height"]) + MARGIN)))


def save(image: Image.Image, path: Path) -> None:
    image.convert("RGB").save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {image.width} x {image.height}, {size / 1000:.0f} kB")
    if size > MAXIMUM:
        raise SystemExit(f"{path.name} is larger than {MAXIMUM / 1000:.0f} kB.")


def main() -> None:
    expect.set_options(timeout=PATIENCE)
    with server() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 2000}, color_scheme="light")
        save(compare(page, address), ROOT / "docs" / "compare.png")
        browser.close()


if __name__ == "__main__":
    main()
