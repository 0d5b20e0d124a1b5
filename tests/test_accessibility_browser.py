"""Who can use the pages: axe finds nothing serious in light or dark, and they fit every width."""

from contextlib import suppress

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import idle
from playwright.sync_api import TimeoutError, expect

WIDTHS = (390, 768, 1400, 2560)
PAGES = {
    "compare": ("/?library=on-the-fly", ".stPlotlyChart .xtitle"),
    "nothing chosen": ("/?samples=&methods=", "[data-testid=stAlert]"),
    "offline": ("/?backbone=vgg11", "[data-testid=stAlert]"),
    "lab": ("/lab", ".stPlotlyChart .xtitle"),
    "faithfulness": ("/faithfulness?methods=grad-cam,libra-cam&controls=no", "canvas.drawable[data-box]"),
    "libraries": ("/libraries", "figure circle"),
    "evaluate": ("/evaluate", "[data-testid=stBaseButton-primary]"),
    "model": ("/model", "[data-testid=stExpander]"),
    "learn": ("/learn", ".katex-display"),
    "presenter": ("/learn?lesson=8&present=yes", ".stPlotlyChart .xtitle"),
}
# What Streamlit (1.67) draws so and a page cannot change.
STREAMLIT = [
    # The label of a disabled control is pale, as WCAG allows, but not marked so that axe would know it.
    "[data-testid=stWidgetLabel][disabled]",
    # What a rerun has not reached yet is pale for a moment.
    "[data-stale=true]",
]
SCHEME = "scheme => getComputedStyle(document.querySelector('.stApp')).colorScheme === scheme"
# What is too wide for the window, and in our own components text that is cut off or lies over other text.
MISFITS = """() => {
  const faults = [];
  for (const box of [document.scrollingElement, document.querySelector("[data-testid=stMain]")]) {
    if (box.scrollWidth <= box.clientWidth) continue;
    const right = (node) => node.getBoundingClientRect().right;
    const widest = [...box.querySelectorAll("*")].reduce((one, other) => (right(other) > right(one) ? other : one));
    const name = widest.dataset.testid ?? widest.className;
    faults.push(`${box.tagName} is ${box.scrollWidth} of ${box.clientWidth} px wide: ${widest.tagName} ${name}`);
  }
  const above = (node) => node.assignedSlot ?? node.parentElement ?? node.getRootNode().host;
  const lines = [];
  const shadows = [...document.querySelectorAll("*")].flatMap((node) => node.shadowRoot ?? []);
  for (const root of [...shadows, ...document.querySelectorAll("[class^=cam-]")]) {
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const { parentElement: parent, textContent } = texts.currentNode;
      if (!textContent.trim() || !parent || parent.matches("style, option, select")) continue;
      if (!parent.checkVisibility({ visibilityProperty: true }) || parent.offsetWidth <= 1) continue;
      const range = document.createRange();
      range.selectNodeContents(texts.currentNode);
      for (const line of range.getClientRects()) lines.push({ text: textContent.trim(), line, parent });
    }
  }
  for (const { text, line, parent } of lines) {
    for (let node = parent; node; node = above(node)) {
      const { overflowX } = getComputedStyle(node);
      if (["auto", "scroll"].includes(overflowX)) break;
      const box = node.getBoundingClientRect();
      const cut = line.left < box.left - 1 || line.right > box.right + 1;
      if (cut && overflowX !== "visible") faults.push(`cut off: ${text}`);
    }
  }
  lines.forEach(({ text, line }, index) => {
    for (const other of lines.slice(index + 1)) {
      const wide = Math.min(line.right, other.line.right) - Math.max(line.left, other.line.left);
      const high = Math.min(line.bottom, other.line.bottom) - Math.max(line.top, other.line.top);
      if (wide > 2 && high > 4) faults.push(`overlapping: ${text} / ${other.text}`);
    }
  });
  return faults;
}"""


@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_it(visit, name):
    """The window is so high that axe sees the whole page; what is folded in the sidebar is opened first."""
    path, awaited = PAGES[name]
    page = visit(path, viewport={"width": 1400, "height": 5000}, color_scheme="light")
    page.add_style_tag(content="* { transition: none !important; animation: none !important }")
    expect(page.locator(awaited).first).to_be_visible()
    idle(page)
    for folded in page.locator("[data-testid=stSidebar] details:not([open]) > summary").all()[::-1]:
        folded.evaluate("summary => summary.click()")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(SCHEME, arg=scheme)
        idle(page)
        assert not serious(page), scheme
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1000})
        with suppress(TimeoutError):  # the assertion says what does not fit
            page.wait_for_function(
                f"width => innerWidth === width && !({MISFITS})().length", arg=width, timeout=30_000
            )
        assert not page.evaluate(MISFITS), width


def serious(page):
    """What axe finds that keeps somebody from using the page, each with the element and the reason."""
    found = Axe().run(
        page,
        {"exclude": [[selector] for selector in STREAMLIT]},
        {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}},
    )
    return [
        f"{violation['id']}: {node['html']} {node['failureSummary']}"
        for violation in found.response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
