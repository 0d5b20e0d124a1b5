"""What is sent to a browser that takes nothing, or little."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from explorer.ui import outbox
from explorer.ui.outbox import Outbox

LONG = 60  # seconds after which a wait is a hang
RUN = [{"type": "websocket.send", "bytes": bytes([number % 256])} for number in range(2000)]
CLOSE = {"type": "websocket.close", "code": 1000}


class Browser:
    """Takes messages while its gate is open."""

    def __init__(self):
        self.took, self.gate = [], asyncio.Event()

    async def send(self, message):
        await self.gate.wait()
        self.took.append(message)

    async def receive(self):
        await self.gate.wait()
        return {"type": "websocket.disconnect"}


def finished(work):
    """The result of a coroutine, in a thread of its own: the tests in a browser leave a loop running in theirs."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asyncio.wait_for(work, LONG)).result()


def answered(app):
    """What a browser took that opens its gate when the app says so."""

    async def run():
        browser = Browser()

        async def served(scope, receive, send):
            await app(browser, receive, send)

        await Outbox(served)({"type": "websocket"}, browser.receive, browser.send)
        return browser.took

    return finished(run())


def test_a_run_of_any_length_is_taken_at_once_and_handed_on_in_order():
    async def app(browser, receive, send):
        for message in (*RUN, CLOSE):
            await send(message)
        assert not browser.took
        browser.gate.set()

    assert answered(app) == [*RUN, CLOSE]


def test_who_is_behind_for_good_is_told_to_come_again(monkeypatch):
    """The message that is on its way is sent, and what comes after the close goes nowhere."""
    monkeypatch.setattr(outbox, "_MOST", 1000)

    async def app(browser, receive, send):
        await send(RUN[0])
        await asyncio.sleep(0)
        for message in RUN[1:]:
            await send(message)
        browser.gate.set()
        assert (await receive())["type"] == "websocket.disconnect"
        await send(CLOSE)

    assert answered(app) == [RUN[0], {"type": "websocket.close", "code": 1013}]


def test_what_is_sent_before_a_fault_is_handed_on():
    browsers = []

    async def app(browser, receive, send):
        browsers.append(browser)
        await send(CLOSE)
        browser.gate.set()
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        answered(app)
    assert browsers[0].took == [CLOSE]


def test_what_is_taken_makes_room(monkeypatch):
    monkeypatch.setattr(outbox, "_MOST", 1000)

    async def app(browser, receive, send):
        browser.gate.set()
        for message in RUN:
            await send(message)
            while browser.took[-1:] != [message]:
                await asyncio.sleep(0)

    assert answered(app) == RUN


def test_a_connection_that_breaks_is_told():
    class Broken(Exception):
        pass

    async def app(browser, receive, send):
        await send(RUN[0])
        await asyncio.sleep(0)
        with pytest.raises(Broken):
            await send(RUN[1])

    async def broken(message):
        raise Broken

    async def served(scope, receive, send):
        await app(None, receive, send)

    finished(Outbox(served)({"type": "websocket"}, None, broken))


def test_what_is_no_websocket_is_passed_on():
    async def app(*given):
        assert given == ({"type": "http"}, "receive", "send")

    finished(Outbox(app)({"type": "http"}, "receive", "send"))
