"""What a visitor has chosen, kept through page switches and mirrored in the URL, so that a link restores it."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from explorer.images import SAMPLES, Picture

_NONE = object()
_TIMM = re.compile(r"timm:\w[\w.-]{0,73}", re.ASCII)


@dataclass
class View:
    """The choices of one session by key. Values come from widgets, or once from the URL, where anything can
    stand: a value that its parser refuses gives way to the default, one of several is left out; ``refused`` notes it.

    ``starts`` holds what each widget on the page began with, ``turned`` how often it has been replaced by a new one,
    ``published`` what the URL was last made to say.
    """

    asked: dict[str, str] = field(default_factory=lambda: st.query_params.to_dict())
    values: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    starts: dict[str, Any] = field(default_factory=dict)
    turned: Counter[str] = field(default_factory=Counter)
    published: dict[str, str] = field(default_factory=lambda: st.query_params.to_dict())

    def seed(self, key: str, default: Any, parse: Callable[[str], Any]) -> Any:
        """The value chosen before, else the one in the URL, else the default."""
        if key not in self.values:
            raw = self.asked.pop(key, None)
            value = _NONE if raw is None else parse(raw)
            if value is REFUSED:
                self.refused.append(key)
            elif raw and isinstance(value, list) and any(parse(one) is REFUSED for one in raw.split(",")):
                self.refused.append(f"some of {key}")
            self.values[key] = default if value is _NONE or value is REFUSED else value
        return self.values[key]

    def keep(self, key: str, value: Any, default: Any, show: Callable[[Any], str] = str) -> Any:
        """Takes a value over; it appears in the URL unless it is the default."""
        self.values[key] = value
        if value == default:
            self.shown.pop(key, None)
        else:
            self.shown[key] = show(value)
        return value

    def publish(self) -> None:
        """Makes the URL say what the view holds, and what the link asked for and nobody has looked at yet.

        The browser may have asked for this run before it has made the URL say what the last one published.
        """
        wanted = self.asked | self.shown
        if not wanted == self.published == st.query_params.to_dict():
            st.query_params.from_dict(wanted)
        self.published = wanted


REFUSED = object()


def view() -> View:
    """The view of this session."""
    return st.session_state.setdefault("view", View())


def picture_key(kind: str, picture: Picture) -> str:
    """The key of something chosen for one picture: a sample by its name, so that a link can restore it."""
    return f"{kind}.{picture.name if picture.name in SAMPLES else picture.digest[:12]}"


def bound(
    widget: Callable[..., Any],
    key: str,
    default: Any,
    parse: Callable[[str], Any],
    show: Callable[[Any], str] = str,
    **arguments: Any,
) -> Any:
    """Draws a widget whose value lives in the view and in the URL.

    What it begins with is its default in every run. A value that is set through the session's state would be sent in
    one run alone: where the next one follows at once, the browser never hears of it.

    Args:
        widget: a streamlit widget that takes ``key``, with its label and options in ``arguments``.
        parse: from the text in the URL to a value, or ``REFUSED``.
        show: from a value to its text in the URL.
    """
    value = view().seed(key, default, parse)
    state = _state(key)
    begin = _beginning(widget, _start(state, value), value, arguments.get("options"))
    chosen = widget(key=state, **begin, **arguments)
    return view().keep(key, default if chosen is None else chosen, default, show)


def known(key: str, default: Any, parse: Callable[[str], Any]) -> Any:
    """The value of a widget that is drawn later in this run: what it has just been set to, else what the view holds."""
    kept = view().seed(key, default, parse)
    set_to = st.session_state.get(_state(key), kept)
    return default if set_to is None else set_to


def turn(key: str, value: Any) -> None:
    """Has the view hold a value, and its widgets, of a group too, give way to new ones that begin with it."""
    view().values[key] = value
    view().turned[key] += 1


def start_anew(key: str) -> None:
    """Has the view hold nothing of a key, whatever was chosen or linked, so that new widgets begin with the default."""
    kept = view()
    for held in (kept.values, kept.shown, kept.asked):
        held.pop(key, None)
    kept.turned[key] += 1


def _state(key: str, member: str = "") -> str:
    """The name of a widget, or of a member of a group, in the session's state."""
    turned = view().turned[key]
    return f"widget {key}{member}" + (f" {turned}" if turned else "")


def _start(state: str, value: Any) -> Any:
    """What a widget began with when it came to the page; the value now if it comes in this run."""
    starts = view().starts
    if state not in st.session_state:
        starts[state] = value
    return starts[state]


def _beginning(
    widget: Callable[..., Any], start: Any, value: Any, options: Collection[Any] | None
) -> dict[str, Any]:
    """The argument that has a widget begin with a value; the value now where the options no longer hold that."""
    if widget in (st.multiselect, st.pills) and options is not None:
        return {"default": [one for one in start if one in options]}
    begin = start if options is None or start in options else value
    if widget in (st.selectbox, st.radio) and options is not None:
        return {"index": list(options).index(begin) if begin in options else None}
    return {"default" if widget is st.segmented_control else "value": begin}


def counted(widget: Callable[..., Any], key: str, default: int, low: int, high: int, **arguments: Any) -> int:
    """Draws a slider or a number input like ``bound``, for a whole number from low to high."""
    parse = whole(low, high)
    return int(bound(widget, key, default, parse, min_value=low, max_value=high, **arguments))


def network(known: Collection[str]) -> Callable[[str], Any]:
    """The name of a network, one that is known or might be timm's."""
    parse = one_of(known)
    return lambda text: text if _TIMM.fullmatch(text) else parse(text)


def selected(
    key: str, default: str, options: Sequence[str], known: Collection[str] = (), **arguments: Any
) -> str:
    """Draws a select box like ``bound``; a value that is no longer among the options gives way to the default.

    Args:
        known: what a link may say without being refused, if more than the options.
    """
    parse = one_of(known or options)
    if view().seed(key, default, parse) not in options:
        turn(key, default)
    return str(bound(st.selectbox, key, default, parse, options=options, **arguments))


def segmented(key: str, default: str, options: Collection[str], **arguments: Any) -> Any:
    """Draws a segmented control like ``selected``."""
    if view().seed(key, default, one_of(options)) not in options:
        turn(key, default)
    return bound(st.segmented_control, key, default, one_of(options), options=list(options), **arguments)


def toggled(key: str, default: bool = False, **arguments: Any) -> bool:
    """Draws a toggle like ``bound``."""
    return bool(bound(st.toggle, key, default, flag, show_flag, **arguments))


def grouped(
    key: str,
    default: list[str],
    groups: Mapping[str, Sequence[str]],
    helps: Mapping[str, str],
    **arguments: Any,
) -> list[str]:
    """Draws pills for each group by its label, with its help; what is chosen of all lives in the view and the URL."""
    options = [name for names in groups.values() for name in names]
    wanted = view().seed(key, default, some_of(options))
    chosen: list[str] = []
    for label, names in groups.items():
        state = _state(key, f".{label}")
        start = _start(state, [name for name in wanted if name in names])
        chosen += st.pills(
            label.capitalize(),
            names,
            default=start,
            key=state,
            selection_mode="multi",
            help=helps[label],
            **arguments,
        )
    return view().keep(key, chosen, default, ",".join)


def one_of(options: Collection[str]) -> Callable[[str], Any]:
    return lambda text: text if text in options else REFUSED


def some_of(options: Collection[str]) -> Callable[[str], Any]:
    """Comma-separated options; none of them known is refused."""
    return several(one_of(options))


def several(parse_one: Callable[[str], Any], most: int = 100) -> Callable[[str], Any]:
    """Comma-separated values, each once; too many, or none that can be read, are refused."""

    def parse(text: str) -> Any:
        values = [
            value for part in dict.fromkeys(text.split(",")) if (value := parse_one(part)) is not REFUSED
        ]
        return values if (values or not text) and len(values) <= most else REFUSED

    return parse


def whole(low: int, high: int) -> Callable[[str], Any]:
    """A whole number from low to high."""

    def parse(text: str) -> Any:
        if not (text.isascii() and text.isdecimal() and len(text) <= 9):
            return REFUSED
        return int(text) if low <= int(text) <= high else REFUSED

    return parse


def number(low: float, high: float) -> Callable[[str], Any]:
    """A decimal number from low to high."""

    def parse(text: str) -> Any:
        try:
            value = float(text)
        except ValueError:
            return REFUSED
        return value if low <= value <= high else REFUSED

    return parse


def flag(text: str) -> Any:
    return {"yes": True, "no": False}.get(text, REFUSED)


def show_flag(value: bool) -> str:
    return "yes" if value else "no"
