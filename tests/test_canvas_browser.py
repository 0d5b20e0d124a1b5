"""The scripts of the canvas in a browser, without a server: pictures that come, move and go."""

import numpy as np
import pytest
from browser import photograph
from conftest import PATIENCE

from explorer.ui import canvas

WHOLE = (0.0, 0.0, 1.0, 1.0)
COFFEE = photograph("coffee", (60, 40))["buffer"]
PLACES = """async (script) => {
  const { default: draw } = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const place = () => document.body.appendChild(document.createElement("div"));
  const decoded = () => new Promise((resolve) => addEventListener("cam-explorer:photo", resolve, { once: true }));
  window.put = (data) => draw({ data, parentElement: place(), setStateValue: () => {} });
  window.putPhoto = async (data) => {
    const done = decoded();
    const leave = window.put(data);
    await done;
    return leave;
  };
}"""


@pytest.fixture
def sent(monkeypatch):
    """By kind, what Python sends of the look, a photograph and a map on it."""
    found = {}
    monkeypatch.setattr(canvas, "_canvas", lambda *, data, **_: found.update({data["kind"]: data}))
    monkeypatch.setattr(canvas, "_keep_room", lambda key, aspect: None)
    canvas.look_bar(canvas.Look(), "look", lambda: None)
    canvas.photo("coffee", COFFEE, 60, 40, WHOLE, "Coffee", "photo")
    canvas.map_cell("look map", "coffee", np.eye(8), WHOLE, 0.5, (0, 0, 0), "Map on coffee", "map")
    return found


@pytest.fixture
def page(chromium):
    opened = chromium.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.set_content("<style>.frame { width: 60px; height: 40px }</style>")
    scripts = [(canvas._HERE / f"{name}.js").read_text("utf-8") for name in canvas._SCRIPTS]
    opened.evaluate(PLACES, "".join(scripts))
    yield opened
    opened.close()


@pytest.mark.parametrize("leaving", [0, 1], ids=["the first", "the second"])
def test_a_map_finds_the_photograph_that_was_in_two_places(page, sent, leaving):
    """While Streamlit moves it, a photograph is there twice, and either of the two may be the one that goes."""
    page.evaluate(
        """async ([{ look, photo, map }, leaving]) => {
          window.put(look);
          const leave = [await window.putPhoto(photo), await window.putPhoto(photo)];
          leave[leaving]();
          window.put(map);
        }""",
        [sent, leaving],
    )
    page.wait_for_selector("canvas[data-cell='look map'][data-look]")


def test_a_map_waits_for_its_photograph(page, sent):
    page.evaluate(
        """async ({ look, map }) => {
          window.put(look);
          window.put(map);
          for (const _ of [1, 2]) await new Promise(requestAnimationFrame);
        }""",
        sent,
    )
    assert page.locator("canvas[data-look]").count() == 0
    page.evaluate("({ photo }) => window.putPhoto(photo)", sent)
    page.wait_for_selector("canvas[data-cell='look map'][data-look]")
