"""What the browser and the server tell each other while runs begin and end."""

from functools import partial
from threading import Thread
from types import SimpleNamespace

import pytest
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.scriptrunner_utils.exceptions import StopException
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState
from streamlit.runtime.state import SafeSessionState, SessionState
from streamlit.runtime.state.common import WidgetMetadata

from explorer.ui import delivery


@pytest.fixture(autouse=True)
def _delivering():
    ThreadState.initialize()
    delivery.deliver_all()
    delivery.deliver_all()


def test_answers_are_kept_once_and_what_is_drawn_again_is_not():
    queue, answer, drawn = ForwardMsgQueue(), ForwardMsg(), _drawn("by the former run")
    answer.file_urls_response.response_id = "where a file is to be uploaded"
    for message in (answer, drawn):
        queue.enqueue(message)
    queue.clear(retain_lifecycle_msgs=True)
    assert queue.flush() == [answer]
    queue.enqueue(drawn)
    assert queue.flush() == [drawn]


def test_what_waits_is_sent_before_what_a_fragment_draws_in_its_place():
    queue, before, after = ForwardMsgQueue(), _drawn("by the page's run"), _drawn("by the fragment's")
    ended = ForwardMsg(script_finished=ForwardMsg.FINISHED_SUCCESSFULLY)
    for message in (before, ended):
        queue.enqueue(message)
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=["a fragment"])
    queue.enqueue(after)
    assert queue.flush() == [before, ended, after]


def _drawn(body):
    message = ForwardMsg()
    message.delta.new_element.text.body = body
    message.delta.fragment_id = "a fragment"
    message.metadata.delta_path[:] = [0, 0]
    return message


def test_a_press_is_heard_although_the_run_it_breaks_off_ends_just_then():
    state, heard = SessionState(), []
    broken_off, begun = SafeSessionState(state, lambda: None), SafeSessionState(state, lambda: None)

    def just_then(value):
        end = Thread(target=broken_off.on_script_finished, args=(frozenset(),), kwargs=KEEPING, daemon=True)
        end.start()
        end.join(0.5)
        return value

    begun.on_script_will_rerun(_press(state, just_then, lambda: heard.append("press")))
    assert heard == ["press"]


def test_what_hears_a_press_is_not_broken_off_and_the_run_is_after_it():
    state, calls = SessionState(), []

    def give_way():
        calls.append("asked")
        if len(calls) > 1:
            raise StopException

    begun = SafeSessionState(state, give_way)

    def hear():
        begun["note"] = "press"

    begun.on_script_will_rerun(_press(state, lambda value: value, hear))
    assert state["note"] == "press"
    with pytest.raises(StopException):
        begun["note"]


def test_a_run_that_is_broken_off_at_once_takes_nothing_in():
    state, heard = SessionState(), []

    def give_way():
        raise StopException

    with pytest.raises(StopException):
        SafeSessionState(state, give_way).on_script_will_rerun(
            _press(state, lambda value: value, lambda: heard.append("press"))
        )
    assert not heard


@pytest.mark.parametrize("moment", ["before", "while it is asked"])
def test_a_fragment_waits_until_what_the_ended_run_told_is_taken_over_and_is_not_overtaken(
    monkeypatch, moment
):
    requests, started, later = ScriptRequests(), [], []
    assert requests.request_rerun(RerunData())
    requests.on_scriptrunner_ready()

    def end(*_):
        requests.on_scriptrunner_ready()
        return True

    monkeypatch.setattr(delivery, "_start", lambda session, asked: started.append(asked))
    loop = SimpleNamespace(call_later=lambda seconds, call, *given: later.append(partial(call, *given)))
    runner = SimpleNamespace(_requests=requests, request_rerun=requests.request_rerun, request_stop=end)
    session = SimpleNamespace(_event_loop=loop, _scriptrunner=runner, _state=None)
    session.has_fragment = end
    session._create_scriptrunner = partial(AppSession._create_scriptrunner, session)
    if moment == "before":
        end()
    for one in (ClientState(fragment_id="poll"), ClientState(page_name="chosen since")):
        AppSession.request_rerun(session, one)
        assert not started
    later.pop(0)()
    assert not started
    session._scriptrunner = None
    for call in later:
        call()
    assert [(one.fragment_id, one.page_name) for one in started] == [("poll", ""), (None, "chosen since")]


def test_a_fragment_that_asks_before_the_run_of_a_chosen_page_begins_does_not_keep_the_page_before():
    requests, pressed = ScriptRequests(), WidgetStates()
    pressed.widgets.add(id="button", trigger_value=True)
    requests.request_rerun(RerunData(page_script_hash="chosen"))
    runner = SimpleNamespace(_requests=requests, request_rerun=requests.request_rerun)
    session = SimpleNamespace(_scriptrunner=runner, _state=None, has_fragment=lambda fragment: True)
    session._client_state = ClientState()
    for states in (WidgetStates(), pressed):
        AppSession.request_rerun(
            session, ClientState(fragment_id="poll", page_script_hash="before", widget_states=states)
        )
    run = requests.on_scriptrunner_ready().rerun_data
    assert (run.page_script_hash, run.fragment_id_queue) == ("chosen", [])
    assert run.widget_states == pressed


def test_a_press_that_waits_for_its_fragment_is_heard_by_the_run_of_the_page_that_comes_first(monkeypatch):
    requests, asked = ScriptRequests(), []
    monkeypatch.setattr(delivery, "_request", lambda session, client_state: asked.append(client_state))
    pressed, moved = WidgetStates(), ClientState()
    pressed.widgets.add(id="button", trigger_value=True)
    pressed.widgets.add(id="number", int_value=1)
    moved.widget_states.widgets.add(id="number", int_value=2)
    requests.request_rerun(RerunData(fragment_id="a fragment", widget_states=pressed))
    AppSession.request_rerun(SimpleNamespace(_scriptrunner=SimpleNamespace(_requests=requests)), moved)
    [told] = asked
    assert {one.id: one.trigger_value or one.int_value for one in told.widget_states.widgets} == {
        "button": True,
        "number": 2,
    }


KEEPING = {"remove_stale_widgets": False}


def _press(state, deserialise, hear):
    """What a browser sends when a button is pressed below a number; ``deserialise`` reads the number."""
    for name, kind, read, callback in (
        ("number", "int_value", deserialise, None),
        ("button", "trigger_value", bool, hear),
    ):
        state._set_widget_metadata(WidgetMetadata(name, read, lambda value: value, kind, callback=callback))
    state._old_state["button"] = False
    sent = WidgetStates()
    sent.widgets.add(id="number", int_value=1)
    sent.widgets.add(id="button", trigger_value=True)
    return sent
