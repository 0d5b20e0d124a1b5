"""A page of the explorer without a browser, run until nothing is pending."""

import json
import re
from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from explorer.ui.state import service

APP = Path(__file__).parents[1] / "explorer/ui/entry.py"


def open_page(page, **query):
    """Opens the page of this path with a query; two underscores stand for a full stop."""
    app = AppTest.from_file(APP, default_timeout=120)
    app._page_hash = calc_hash(page)
    app.query_params.update({key.replace("__", "."): value for key, value in query.items()})
    return settle(app.run())


def settle(app):
    """Reruns the script after each batch of jobs, as the polling fragment does, until a run asks for nothing new.

    A quick job may be asked for and done while one run is drawn, which then shows it as it was before.
    """
    before = None
    for _ in range(100):
        assert not app.exception
        workers = (service()._decoder, service()._device, service()._encoder)
        jobs = [job for worker in workers for job in worker._jobs.values()]
        asked = [repr(worker._sequence) for worker in workers]
        if not jobs and not app.get("progress") and asked == before:
            return app
        for job in jobs:
            assert job.wait(120)
        before = asked
        app.run()
    raise AssertionError("the page did not settle")


def control(app, kind, key):
    """The widget that stands for a key of the view; the key in the session's state says how often it was replaced."""
    [found] = [
        one for one in app.get(kind) if re.fullmatch(rf"widget {re.escape(key)}( \d+)?", one.key or "")
    ]
    return found


def drawn(app, kind="map"):
    """What the canvas components of a kind were given."""
    found = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return [data for data in found if data["kind"] == kind]


def link(app):
    """The query of the page's address."""
    return {key: "".join(app.query_params[key]) for key in app.query_params}


def chart(app, position=0):
    return json.loads(app.get("plotly_chart")[position].proto.spec)
