"""What the tests in a browser share."""

import io
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import TimeoutError, expect

from explorer import images

DRAWN = 'canvas[data-cell^="look"][data-look]'


def photograph(identifier, size=None):
    image = images.sample(identifier).image
    buffer = io.BytesIO()
    (image.resize(size) if size else image).save(buffer, "JPEG", quality=92)
    return {"name": f"{identifier}.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


COUNTS = """(selectors) => {
  const roots = [document];
  for (const root of roots)
    for (const { shadowRoot } of root.querySelectorAll("*")) if (shadowRoot) roots.push(shadowRoot);
  return selectors.map((one) => roots.reduce((sum, root) => sum + root.querySelectorAll(one).length, 0));
}"""
AT_REST = {"[data-test-script-state=notRunning]": 1, "figure.dimmed, [data-stale=true]": 0}


def settled(page, maps):
    """Waits for a moment at which no run goes on, no map is dimmed, and so many are drawn.

    All at one moment: in the middle of a run what was there before it stands beside what it has drawn.
    """
    _wait(page, AT_REST | {DRAWN: maps})


def idle(page):
    """Waits for a moment at which no run goes on, no map is dimmed, and nothing is being made."""
    _wait(page, AT_REST | {"[data-testid=stProgress]": 0})


def _wait(page, wanted):
    """Waits until there are so many of each selector at one moment."""
    selectors, counts = list(wanted), list(wanted.values())
    try:
        page.wait_for_function(
            f"([selectors, wanted]) => ({COUNTS})(selectors).every((count, i) => count === wanted[i])",
            arg=[selectors, counts],
            polling=100,
        )
    except TimeoutError as late:
        found = dict(zip(selectors, page.evaluate(COUNTS, selectors), strict=True))
        text = page.locator("body").inner_text()
        raise AssertionError(f"{found} instead of {wanted}, on a page that says:\n{text}") from late


def choose(page, uploader, *files):
    """Has a visitor choose files, or what ``photograph`` makes, once no run goes on, and waits until each is listed."""
    _wait(page, AT_REST)
    uploader.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(list(files))
    for file in files:
        name = file.name if isinstance(file, Path) else file["name"]
        expect(uploader.get_by_title(name, exact=True).last).to_be_visible()


DEVICES = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
"""By name, what ``visit`` takes to look through it."""


@contextmanager
def sidebar(page, device):
    """The sidebar, which a phone shows for so long only."""
    if device == "phone":
        page.get_by_test_id("stExpandSidebarButton").click()
    yield page.get_by_test_id("stSidebar")
    if device == "phone":
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()


def fits(page):
    """Nothing has to be scrolled sideways."""
    wide, room = page.evaluate("[document.scrollingElement.scrollWidth, window.innerWidth]")
    assert wide <= room
