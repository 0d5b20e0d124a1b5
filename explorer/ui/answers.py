"""What the server answers a browser is not lost when a run begins.

Streamlit (1.67) drops what waits to be sent at the begin of every run, since the run draws all of it again; the answer
to where a chosen file is to be uploaded too, which no run gives again: the file is never sent, and nothing says so.
"""

from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

_clear = ForwardMsgQueue.clear


def keep_answers() -> None:
    """Has every session of this server keep them; more calls change nothing."""
    ForwardMsgQueue.clear = _clear_but_answers  # type: ignore[assignment, method-assign]


def _clear_but_answers(
    queue: ForwardMsgQueue,
    retain_lifecycle_msgs: bool = False,
    fragment_ids_this_run: list[str] | None = None,
) -> None:
    """Without ``retain_lifecycle_msgs`` the queue was sent, and nothing waits any more."""
    waiting = queue._queue if retain_lifecycle_msgs else []
    _clear(queue, retain_lifecycle_msgs, fragment_ids_this_run)
    queue._queue += [
        message
        for message in waiting
        if str(message.WhichOneof("type")).endswith("_response") and message not in queue._queue
    ]
