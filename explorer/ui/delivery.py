"""What the browser and the server tell each other arrives, where Streamlit (1.67) would lose it.

- Of what waits to be sent it drops all at the begin of a run, since the run draws it again; the answer to where a
  chosen file is to be uploaded too, which no run gives again: the file is never sent, and nothing says so.
- At the begin of a fragment's run it drops what the fragment's last run, or the page's, has drawn in it, but not that
  this run has ended: the browser takes what it has not drawn for gone, with what the visitor has chosen there, and
  fails on what a fragment inside draws in a place that was dropped. All of it is sent.
- A press is known from the begin of its run to the call of what hears it. In that time a run that it broke off may
  end, at which all presses are forgotten, and what hears it may be broken off itself.
- A press in a fragment waits for the end of the page's run. When the page is asked for once more meanwhile, that run is
  broken off, and what waited for it is forgotten.
- When a fragment asks for its run before that of a page which was just chosen has begun, the two become one run of the
  page before.
- When a fragment asks for its run after the page's run has ended and before all of that was taken over, the rest of
  that is dropped (issue 9921): what is missing stays away, and the page may poll no more.
"""

import threading
from collections import deque
from typing import Any

from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.scriptrunner_utils.script_requests import (
    RerunData,
    ScriptRequestType,
    _coalesce_widget_states,
)
from streamlit.runtime.state.safe_session_state import SafeSessionState

_AGAIN = 0.01  # seconds
_hearing = threading.RLock()

_clear = ForwardMsgQueue.clear
_begin = SafeSessionState.on_script_will_rerun
_end = SafeSessionState.on_script_finished
_request = AppSession.request_rerun
_start = AppSession._create_scriptrunner


class _TooEarly(Exception):
    """What the last runner of a session told is not taken over yet."""


def deliver_all() -> None:
    """Mends every session of this server; more calls change nothing."""
    ForwardMsgQueue.clear = _clear_but_answers  # type: ignore[assignment, method-assign]
    SafeSessionState.on_script_will_rerun = _begin_heard  # type: ignore[assignment, method-assign]
    SafeSessionState.on_script_finished = _end_after_hearing  # type: ignore[assignment, method-assign]
    AppSession.request_rerun = _request_in_turn  # type: ignore[assignment, method-assign]
    AppSession._create_scriptrunner = _start_in_turn  # type: ignore[assignment, method-assign]


def _clear_but_answers(
    queue: ForwardMsgQueue,
    retain_lifecycle_msgs: bool = False,
    fragment_ids_this_run: list[str] | None = None,
) -> None:
    """Without ``retain_lifecycle_msgs`` the queue was sent, and nothing waits any more."""
    if fragment_ids_this_run:
        queue._delta_index_map = {}  # what is drawn now comes after what waits, and not in its place
        return
    waiting = queue._queue if retain_lifecycle_msgs else []
    _clear(queue, retain_lifecycle_msgs, fragment_ids_this_run)
    queue._queue += [
        message
        for message in waiting
        if str(message.WhichOneof("type")).endswith("_response") and message not in queue._queue
    ]


def _begin_heard(state: SafeSessionState, *states: Any, **named: Any) -> None:
    """A run is broken off before it takes in what the browser sent, or after all of that is heard."""
    give_way = state._yield_callback
    give_way()
    with _hearing:
        object.__setattr__(state, "_yield_callback", lambda: None)
        try:
            _begin(state, *states, **named)
        finally:
            object.__setattr__(state, "_yield_callback", give_way)


def _end_after_hearing(state: SafeSessionState, *widgets: Any, **named: Any) -> None:
    with _hearing:
        _end(state, *widgets, **named)


def _request_in_turn(session: AppSession, client_state: ClientState | None) -> None:
    """What was asked later, with what a visitor has chosen since, does not overtake."""
    waiting: deque[ClientState | None] = vars(session).setdefault("_waiting", deque())
    waiting.append(client_state)
    _hand_on(session, waiting)


def _hand_on(session: AppSession, waiting: deque[ClientState | None]) -> None:
    while waiting:
        asked, runner = waiting.popleft(), session._scriptrunner
        if asked is not None and runner is not None and runner._requests._state == ScriptRequestType.RERUN:
            pending = runner._requests._rerun_data
            if not asked.fragment_id:
                if together := _coalesce_widget_states(pending.widget_states, asked.widget_states):
                    asked.widget_states.CopyFrom(together)
            elif not pending.fragment_id_queue:
                asked.page_script_hash, asked.page_name = pending.page_script_hash, pending.page_name
        try:
            _request(session, asked)
        except _TooEarly:
            waiting.appendleft(asked)
            session._event_loop.call_later(_AGAIN, _hand_on, session, waiting)
            return


def _start_in_turn(session: AppSession, asked: RerunData) -> None:
    """A runner that takes no more is the session's until all that it told was taken over, which is soon.

    It may have ended a moment ago, when this was already asked for.
    """
    if session._scriptrunner is not None:
        raise _TooEarly
    _start(session, asked)
