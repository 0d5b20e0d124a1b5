"""How quickly the page answers and how much memory its server takes, in a real browser.

    python benchmarks/page.py [--explanations 100]

Times are from the release of a control to the redrawn map, on a warm page of one sample with Grad-CAM and Libra-CAM.
"""

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]
CELL = 'canvas[data-cell^="look"][data-look]'
# Resolves to the milliseconds from now until the cell is drawn again with other pixels.
REDRAWN = """(canvas) => new Promise((resolve) => {
  const before = canvas.toDataURL(), started = performance.now();
  new MutationObserver((_, observer) => {
    if (canvas.toDataURL() === before) return;
    observer.disconnect();
    resolve(performance.now() - started);
  }).observe(canvas, { attributes: true, attributeFilter: ["data-drawn"] });
  window.act();
})"""
SET = """([label, value]) => {
  const all = (root) => [...root.querySelectorAll("*")].flatMap((node) => [node, ...inside(node)]);
  const inside = (node) => (node.shadowRoot ? all(node.shadowRoot) : []);
  const named = (node) => node.matches("input[type=range]") && node.labels[0]?.textContent.includes(label);
  const input = all(document).find(named);
  window.act = () => {
    input.value = value;
    for (const type of ["input", "change"]) input.dispatchEvent(new Event(type, { bubbles: true }));
  };
}"""


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """The explorer with an empty home: its address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--server.headless=true", "--server.address=127.0.0.1", f"--server.port={port}"]
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", *options],
            cwd=ROOT,
            env={**os.environ, "EXPLORER_HOME": home},
            stdout=subprocess.DEVNULL,
        )
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            process.wait(20)


def settle(page: Page) -> None:
    expect(page.locator(CELL)).to_have_count(2, timeout=120_000)
    expect(page.locator("figure.dimmed")).to_have_count(0, timeout=120_000)
    expect(page.get_by_test_id("stProgress")).to_have_count(0, timeout=120_000)
    expect(page.get_by_text("Measuring the c")).to_have_count(0, timeout=120_000)
    expect(page.locator('[data-test-script-state="notRunning"]')).to_have_count(1, timeout=120_000)


def resident(pid: int) -> float:
    """Megabytes of memory that the process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def report(name: str, times: list[float]) -> None:
    low, high = min(times), max(times)
    print(
        f"{name:16} median {statistics.median(times):6.0f} ms   {low:.0f} to {high:.0f}, {len(times)} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--explanations", type=int, default=100)
    arguments = parser.parse_args()
    with server() as (address, pid), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(address)
        settle(page)
        page.reload()
        started = time.perf_counter()
        settle(page)
        print(f"warm load        {time.perf_counter() - started:.2f} s to two drawn maps")
        cell = page.locator(CELL).nth(1)
        for label, values in (("Opacity", range(20, 80, 6)), ("Area removed", range(20, 80, 6))):
            times = []
            for value in values:
                page.evaluate(SET, [label, value])
                times.append(cell.evaluate(REDRAWN))
            report(label.lower(), times)
        page.get_by_label("Recommended for each map").check()
        settle(page)
        slider = page.get_by_role("slider", name="Libra-CAM: library size")
        times = []
        for _ in range(10):
            page.evaluate("window.act = () => {}")
            drawn = cell.evaluate_handle(
                REDRAWN.replace("window.act();", "").replace("=> new", "=> ({promise: new", 1) + "})"
            )
            slider.press("ArrowRight")
            times.append(drawn.evaluate("async (handle) => await handle.promise"))
            settle(page)
        report("library size", times)
        first = resident(pid)
        page.get_by_text("Selection of references").click()
        seed = page.get_by_test_id("stNumberInputField")
        for number in range(1, arguments.explanations + 1):
            seed.fill(str(number))
            seed.press("Enter")
            expect(page).to_have_url(re.compile(f"seed={number}(&|$)"), timeout=60_000)
            settle(page)
            if number % (arguments.explanations // 4) == 0:
                print(
                    f"memory           {resident(pid):.0f} MB after {number} explanations ({first:.0f} MB at first)"
                )
        browser.close()


if __name__ == "__main__":
    main()
