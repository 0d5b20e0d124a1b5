"""How long a visitor waits, in real browsers against one server: one visitor alone, and several at once.

    PYTHONPATH=. python benchmarks/interaction.py [--visitors 1 5] [--rounds 10]

All visitors do the same in the same order, each in a browser of its own, with one sample, Grad-CAM and Libra-CAM. The
server has made everything once before. By the browser's own clock, a time begins with a navigation, or with the press
of a key or button, and ends when the maps that were asked for are drawn.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from page import CELL, server, settle
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

PATIENCE = 300_000  # milliseconds
Times = dict[str, list[float]]
# Runs before the scripts of the page, and sees every change of it, also in the shadow roots in which maps are drawn.
WATCH = """(() => {
  const roots = [], known = new WeakMap();
  let check = () => {};
  const observer = new MutationObserver(() => check());
  const watch = (root) => observer.observe(root, { subtree: true, childList: true, attributes: true });
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function (options) {
    const root = attach.call(this, options);
    roots.push(root);
    watch(root);
    return root;
  };
  watch(document);

  const pixels = (canvas) => {
    const { drawn } = canvas.dataset;
    if (known.get(canvas)?.drawn !== drawn) known.set(canvas, { drawn, url: canvas.toDataURL() });
    return known.get(canvas).url;
  };
  // The pixels of so many maps; nothing while there are more or fewer, or one is still an earlier result.
  window.drawn = (count) => {
    const maps = roots.flatMap((root) => [...root.querySelectorAll('CELL')]).filter((canvas) => canvas.isConnected);
    return maps.length === count && !maps.some((canvas) => canvas.closest(".dimmed")) ? maps.map(pixels) : null;
  };
  // Resolves to the milliseconds from the start, else from the next press, until so many maps are drawn, all anew.
  window.until = (count, started) => new Promise((resolve) => {
    const before = new Set(started === 0 ? [] : drawn(count));
    const press = ({ timeStamp }) => { started ??= timeStamp; };
    for (const type of ["pointerdown", "keydown"]) addEventListener(type, press, { capture: true, once: true });
    check = () => {
      if (started === undefined || !drawn(count)?.every((url) => !before.has(url))) return;
      check = () => {};
      resolve(performance.now() - started);
    };
  });
  window.took = until(2, 0);
})()""".replace("CELL", CELL)
PAINTED = 'performance.getEntriesByName("first-contentful-paint")[0].startTime'


def open_page(browser: Browser, address: str, times: Times) -> Page:
    """The explorer for a visitor who has never been here, at rest."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.add_init_script(WATCH)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    times["explained sample"].append(page.evaluate("took"))
    times["first paint"].append(page.evaluate(PAINTED))
    settle(page)
    return page


def clocked(page: Page, maps: int, act: Callable[[], None]) -> float:
    """Milliseconds from what ``act`` presses until the page has so many maps, none of them as before."""
    page.evaluate(f"() => {{ window.took = until({maps}); }}")
    act()
    took = float(page.evaluate("took"))
    expect(page.locator('[data-test-script-state="notRunning"]')).to_have_count(1, timeout=PATIENCE)
    return took


def interact(page: Page, times: Times) -> None:
    """Each interaction there and back, after which the page is as before."""
    method = page.get_by_role("button", name="XGrad-CAM", exact=True)
    for key in ("ArrowLeft", "ArrowRight"):
        for control in ("Opacity", "Area removed"):
            press = page.get_by_label(control).press
            times[control.lower()].append(clocked(page, 2, partial(press, key)))
    page.get_by_label("Recommended for each map").check()
    times["add a method"].append(clocked(page, 3, method.click))
    clocked(page, 2, method.click)
    for place in (2, 0):  # the other of the two most probable, and the predicted one
        page.get_by_role("combobox", name="Explained class").click()
        option = page.get_by_role("option").nth(place)
        times["class"].append(clocked(page, 2, option.click))
    for name, maps in (("Libra lab", 1), ("Compare", 2)):
        times["page"].append(clocked(page, maps, page.get_by_role("link", name=name).click))


def change_size(page: Page, times: Times) -> None:
    """On the lab, where one map depends on the size alone."""
    clocked(page, 1, page.get_by_role("link", name="Libra lab").click)
    slider = page.get_by_role("slider", name="Libra-CAM: library size")
    for key in ("ArrowRight", "ArrowLeft"):
        times["library size"].append(clocked(page, 1, partial(slider.press, key)))


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(
        executable_path="/usr/bin/chromium",
        args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    )


def visit(address: str, rounds: int) -> Times:
    """What one visitor waits for: in each round a first visit, and everything else on it."""
    times: Times = defaultdict(list)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for _ in range(rounds):
            page = open_page(browser, address, times)
            interact(page, times)
            change_size(page, times)
            page.context.close()
        browser.close()
    return times


def report(visitors: int, several: list[Times]) -> None:
    for name in several[0]:
        times = np.concatenate([times[name] for times in several])
        median, high = np.quantile(times, (0.5, 0.9))
        row = (str(visitors), name, *(f"{time:.0f}" for time in (median, high, times.max())), str(len(times)))
        print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--visitors", type=int, nargs="+", default=[1, 5], help="how many at once, one after the other"
    )
    parser.add_argument("--rounds", type=int, default=10, help="of everything, for each visitor")
    arguments = parser.parse_args()
    with server() as (address, _):
        visit(address, 1)
        print("| visitors | until | median, ms | 90%, ms | longest, ms | times |")
        print("|---:|---|---:|---:|---:|---:|", flush=True)
        for visitors in arguments.visitors:
            with ThreadPoolExecutor(visitors) as pool:
                report(visitors, list(pool.map(visit, [address] * visitors, [arguments.rounds] * visitors)))


if __name__ == "__main__":
    main()
