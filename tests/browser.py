"""What the tests in a browser share."""

import io

from playwright.sync_api import expect

from explorer import images

DRAWN = 'canvas[data-cell^="look"][data-look]'


def photograph(identifier, size=None):
    image = images.sample(identifier).image
    buffer = io.BytesIO()
    (image.resize(size) if size else image).save(buffer, "JPEG", quality=92)
    return {"name": f"{identifier}.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def settled(page, maps):
    """Waits until so many maps are drawn, none of them dimmed, and nothing is being made."""
    expect(page.locator(DRAWN)).to_have_count(maps)
    expect(page.locator("figure.dimmed")).to_have_count(0)
    expect(page.get_by_test_id("stProgress")).to_have_count(0)


DEVICES = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
"""By name, what ``visit`` takes to look through it."""


def fits(page):
    """Nothing has to be scrolled sideways."""
    wide, room = page.evaluate("[document.scrollingElement.scrollWidth, window.innerWidth]")
    assert wide <= room
