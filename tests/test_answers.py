"""What waits to be sent when a run begins."""

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from explorer.ui.answers import keep_answers


@pytest.mark.parametrize("fragments", [None, ["a fragment"]])
def test_answers_are_kept_once_and_what_is_drawn_again_is_not(fragments):
    keep_answers()
    keep_answers()
    queue, answer, drawn = ForwardMsgQueue(), ForwardMsg(), ForwardMsg()
    answer.file_urls_response.response_id = "where a file is to be uploaded"
    drawn.delta.new_element.text.body = "drawn by the former run"
    drawn.delta.fragment_id = "a fragment"
    drawn.metadata.delta_path[:] = [0, 0]
    for message in (answer, drawn):
        queue.enqueue(message)
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=fragments)
    assert queue.flush() == [answer]
    queue.enqueue(drawn)
    assert queue.flush() == [drawn]
