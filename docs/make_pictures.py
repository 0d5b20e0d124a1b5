"""Makes the picture and the animation of the README from the running explorer: ``python docs/make_pictures.py``."""

import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"
SAMPLES = ("chelsea", "coffee")
METHODS = ("grad-cam", "grad-cam++", "libra-cam")
WIDTH = 1400
MARGIN = 16
MAXIMUM = 700_000  # bytes
LONGEST = 3_000_000  # bytes, of the animation
SCREEN: ViewportSize = {"width": 1200, "height": 760}
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


class Film:
    """Screenshots of a page, each with how long it is shown."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._frames: list[Image.Image] = []
        self._milliseconds: list[int] = []

    def hold(self, milliseconds: int) -> None:
        """What is there when the browser has drawn."""
        self._page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))")
        self._frames.append(Image.open(io.BytesIO(self._page.screenshot())).convert("RGB"))
        self._milliseconds.append(milliseconds)

    def save(self, path: Path) -> None:
        first, *rest = self._frames
        first.save(
            path, save_all=True, append_images=rest, duration=self._milliseconds, loop=0, quality=55, method=6
        )
        size = path.stat().st_size
        seconds = sum(self._milliseconds) / 1000
        print(f"{path.relative_to(ROOT)}: {len(self._frames)} frames, {seconds:.0f} s, {size / 1000:.0f} kB")
        if size > LONGEST:
            raise SystemExit(f"{path.name} is larger than {LONGEST / 1000:.0f} kB.")


def explore(page: Page, address: str) -> Film:
    """Twenty seconds: opacity, wipe, cut, curves, references, faithfulness."""
    visit(page, address, SAMPLES, METHODS)
    film = Film(page)
    film.hold(1500)
    opacity, removed = (
        page.get_by_role("slider", name="Opacity"),
        page.get_by_role("slider", name="Area removed"),
    )
    for value in (*range(55, 96, 8), *range(95, 14, -8), *range(15, 56, 8)):
        opacity.fill(str(value))
        film.hold(80)
    main = page.get_by_test_id("stMain")
    page.get_by_label("Wipe").check(force=True)
    divider = page.get_by_role("slider", name="Divider").first
    divider.press("End")
    for key in (*["Shift+ArrowLeft"] * 10, *["Shift+ArrowRight"] * 10):
        divider.press(key)
        film.hold(110)
    main.evaluate("node => node.scrollTo(0, 0)")
    page.get_by_label("At the cut").check(force=True)
    film.hold(1000)
    for value in range(20, 96, 5):
        removed.fill(str(value))
        film.hold(120)
    page.get_by_role("checkbox", name="Recommended for each map").check()
    film.hold(1000)
    page.get_by_label("Overlay").check(force=True)
    page.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
    film.hold(1800)
    main.evaluate("node => node.scrollTo(0, 0)")
    for name, sight in (("Libra lab", "Look closer"), ("Faithfulness", "Deletion, lower is better")):
        page.get_by_role("link", name=name).click()
        expect(page.get_by_text(sight)).to_be_visible()
        expect(page.locator("[data-stale=true]")).to_have_count(0)
        expect(page.get_by_text(re.compile("measuring", re.IGNORECASE))).to_have_count(0)
        expect(page.locator(".scatterlayer path.js-line").first).to_be_attached()
        expect(page.get_by_test_id("stProgress")).to_have_count(0)
        main.evaluate("node => node.scrollTo(0, 0)")
        film.hold(2200)
        main.evaluate("node => node.scrollBy(0, 560)")
        film.hold(1800)
    return film


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
        page = browser.new_page(viewport={"width": WIDTH, "height": 2100}, color_scheme="light")
        save(compare(page, address), ROOT / "docs" / "compare.png")
        page.set_viewport_size(SCREEN)
        explore(page, address).save(ROOT / "docs" / "explorer.webp")
        browser.close()


if __name__ == "__main__":
    main()
