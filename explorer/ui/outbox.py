"""What a browser is sent waits for it, however slow it is.

Streamlit (1.67) gives up a session for which 500 messages wait, about as many as a run of a wall of maps has. Neither
server nor browser says so: the connection stands, nothing is answered on it any more, and the page stays as it is.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MOST = 2**26  # bytes that wait for one browser: a dozen walls as they are first sent
_COME_AGAIN = 1013  # a code of a closed connection, with which the browser connects anew and asks for all


class Outbox:
    """ASGI middleware that takes what is sent over a WebSocket at once and hands it on as fast as the browser takes it.

    For which more waits than ``_MOST`` is behind for good: what waits is dropped and the connection closed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        waiting: asyncio.Queue[Message] = asyncio.Queue()
        held, closed = 0, False

        async def hand_on() -> None:
            nonlocal held
            while True:
                message = await waiting.get()
                await send(message)
                held -= _size(message)
                waiting.task_done()

        async def take(message: Message) -> None:
            nonlocal held, closed
            if handing.done():
                await handing  # raises what sending has raised
            if closed:
                return  # the app is told of it when the browser has been
            held += _size(message)
            if held > _MOST:
                closed = True
                while not waiting.empty():
                    waiting.get_nowait()
                    waiting.task_done()
                message = {"type": "websocket.close", "code": _COME_AGAIN}
            waiting.put_nowait(message)

        async def finish() -> None:
            tasks.append(asyncio.create_task(waiting.join()))
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

        tasks = [handing := asyncio.create_task(hand_on())]
        try:
            await self._app(scope, receive, take)
        except Exception:
            await finish()
            raise
        else:
            await finish()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _size(message: Message) -> int:
    return len(message.get("bytes") or b"")
