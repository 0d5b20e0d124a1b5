"""How much memory the server of the page takes, while a real browser asks for one explanation after the other.

    PYTHONPATH=. python benchmarks/page.py [--explanations 100]

Every explanation is another one: the seed of the references changes.
"""

import argparse
import os
import re
import socket
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
