"""Rules of style, which a browser has before what they lay out: with ``st.html`` they would come after it, which jumps.

The rules of ``page.css`` come with Streamlit's page, which is sent first, and others as Markdown.
"""

from pathlib import Path

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_RULES = (Path(__file__).parent / "page.css").read_text("utf-8")
_STYLE = f"<style>{_RULES}</style>".encode()  # what follows a page is taken into its body
# A compressed page cannot be added to, and one that the browser has kept may have had other rules.
_UNWANTED = {b"accept-encoding", b"if-none-match", b"if-modified-since"}


def style(rules: str) -> None:
    """Adds rules of CSS, which take no room on the page."""
    st.markdown(f"<style>{rules}</style>", unsafe_allow_html=True)


class Styled:
    """ASGI middleware that adds the rules to every page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = scope["type"] == "http" and scope["method"] == "GET"
        if not wanted or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self._app(scope, receive, send)
            return
        headers = [pair for pair in scope["headers"] if pair[0] not in _UNWANTED]
        page = False

        async def add(message: Message) -> None:
            nonlocal page
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                page = answer.get("content-type", "").startswith("text/html")
                if page:
                    answer["content-length"] = str(int(answer["content-length"]) + len(_STYLE))
                    del answer["etag"], answer["last-modified"]
            elif page and not message.get("more_body"):
                message["body"] = message.get("body", b"") + _STYLE
            await send(message)

        await self._app({**scope, "headers": headers}, receive, add)
