"""The page that a browser is sent first, by a real server."""

import re
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def answer(server):
    """What the server answers to a browser: headers and content."""

    def get(path, accept="text/html,*/*;q=0.8", **headers):
        asked = {"Accept": accept, "Accept-Encoding": "gzip", **headers}
        with urlopen(Request(f"{server}/{path}", headers=asked)) as response:
            return response.headers, response.read()

    return get


@pytest.mark.parametrize("path", ["", "lab", "unknown/page"])
def test_every_page_comes_with_the_rules(answer, path):
    headers, content = answer(path)
    [style] = re.findall("<style>(.*)</style>", content.decode(), re.DOTALL)
    assert style == (ROOT / "explorer/ui/page.css").read_text("utf-8")
    assert "Content-Encoding" not in headers


def test_a_page_that_the_browser_has_kept_is_sent_anew(answer):
    kept, _ = answer("", accept="*/*")
    headers, content = answer(
        "", **{"If-None-Match": kept["ETag"], "If-Modified-Since": kept["Last-Modified"]}
    )
    assert b"<style>" in content
    assert headers["ETag"] is None


def test_what_is_no_page_is_sent_as_it_is(answer):
    headers, content = answer("favicon.png")
    assert content.startswith(b"\x89PNG")
    assert int(headers["Content-Length"]) == len(content)
    assert headers["ETag"]
