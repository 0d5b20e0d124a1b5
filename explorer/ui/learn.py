"""The Learn page: ten lessons on the visitor's own picture, and a mode for presenting them to a class."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.declaration import Paper
from explorer.methods import METHODS
from explorer.ui.board import Board
from explorer.ui.canvas import Look
from explorer.ui.lessons import LESSONS, Lesson, Scene
from explorer.ui.live import live
from explorer.ui.sidebar import Choice
from explorer.ui.style import style
from explorer.ui.view import bound, known, toggled, turn, view, whole

_KEY = "lesson"
_SAMPLE = "chelsea"
_CLICKER = "clicker"
_HERE = Path(__file__).parent
_clicker = st.components.v2.component(
    "cam_explorer_present", js=(_HERE / "present.js").read_text("utf-8"), html="<span></span>"
)
_PRESENTING = """
html { font-size: clamp(16px, 1.6vw, 30px) !important; }
:is([data-testid=stSidebar], [data-testid=stHeader], .st-key-lesson-look) { display: none !important; }
.stMainBlockContainer { padding-top: 1rem !important; }
"""


def show(choice: Choice, look: Callable[[], Look]) -> None:
    """Draws the page.

    Args:
        look: draws the bar that sets the look of the maps; it stands below the lesson.
    """
    presenting = _navigation()
    number = view().values[_KEY]
    lesson = LESSONS[number - 1]
    if presenting:
        style(_PRESENTING)
        _clicker(
            key=_CLICKER,
            data={"kind": "clicker", "lesson": number, "last": len(LESSONS), "title": _title(number)},
            on_lesson_change=_clicked,
        )
    st.header(_title(number), anchor=False)
    body = st.container()
    with st.container(key="lesson-look"):
        chosen = look()
    taught = _of(lesson, choice)
    with body:
        live(taught, lambda board: _draw(lesson, board, taught, chosen), methods=False)


def _draw(lesson: Lesson, board: Board, choice: Choice, look: Look) -> None:
    with st.container(key="lessons"):
        left, right = st.columns([2, 3], gap="large")
        with left:
            st.markdown(lesson.text)
            st.latex(lesson.formula)
            numbers = st.container()
            st.caption(lesson.symbols)
            with st.container(border=True):
                st.markdown(f"**Try it.** {lesson.task}")
                control = st.container()
            _cite(lesson.paper)
        if board.rows:
            with right:
                lesson.draw(Scene(board, board.rows[0], choice, look, control, numbers))


def _navigation() -> bool:
    """The buttons, the list of lessons and the switch; whether somebody presents."""
    last = len(LESSONS)
    at = known(_KEY, 1, whole(1, last))  # the list is drawn after the first button
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            "Back",
            icon=":material/arrow_back:",
            disabled=at == 1,
            on_click=_go,
            args=(at - 1,),
            help="The lesson before.",
        )
        bound(
            st.selectbox,
            _KEY,
            1,
            whole(1, last),
            label="Lesson",
            options=range(1, last + 1),
            format_func=_title,
            help="From what the network sees to what metrics reward; each stands for itself.",
        )
        st.button(
            "Next",
            icon=":material/arrow_forward:",
            disabled=at == last,
            on_click=_go,
            args=(at + 1,),
            help="The lesson after.",
        )
        return toggled(
            "present",
            label="Presenter mode",
            help="Larger type and no sidebar. The arrow keys, Page Up and Page Down, or a clicker, change the lesson.",
        )


def _title(number: int) -> str:
    return f"{number}. {LESSONS[number - 1].title}"


def _go(number: int) -> None:
    turn(_KEY, number)


def _clicked() -> None:
    """Moves to the lesson that a key asked for."""
    if (number := wanted(st.session_state.get(_CLICKER))) is not None:
        _go(number)


def wanted(raw: Any) -> int | None:
    """The number of a lesson in what the browser sent, which is not trusted."""
    number = raw.get("lesson") if isinstance(raw, Mapping) else None
    return next((one for one in range(1, len(LESSONS) + 1) if one == number), None)


def _of(lesson: Lesson, choice: Choice) -> Choice:
    """The first picture, or a sample, with the methods of the lesson."""
    samples = () if choice.uploads else (choice.samples or (_SAMPLE,))[:1]
    methods = tuple(METHODS[name]() for name in lesson.methods)
    return replace(choice, samples=samples, uploads=choice.uploads[:1], methods=methods)


def _cite(paper: Paper) -> None:
    st.caption(f"[{paper.title}]({paper.link}), {paper.authors}, {paper.venue} {paper.year}")
