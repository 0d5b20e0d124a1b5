"""The references that a visitor has pinned or excluded: kept in the view and in the URL."""

from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

import streamlit as st

from explorer.ui.view import REFUSED, several, view

Kind = Literal["pinned", "excluded"]
_MOST, _LONGEST = 1000, 500


def preferred(kind: Kind) -> tuple[str, ...]:
    """The ids of the references of a kind, the first chosen first."""
    found: tuple[str, ...] = view().seed(kind, (), _ids)
    return _keep(kind, found)


def toggle(kind: Kind, identifier: str) -> None:
    """Pins or excludes a reference, or no longer does; it is never both."""
    for one in get_args(Kind):
        chosen = preferred(one)
        if identifier in chosen:
            _keep(one, tuple(other for other in chosen if other != identifier))
        elif one == kind:
            _keep(one, (*chosen, identifier))


def forget() -> None:
    """No reference is pinned or excluded any more."""
    for kind in get_args(Kind):
        _keep(kind, ())


def report() -> None:
    """Says how many are pinned and excluded, with a button that forgets them; nothing if none are."""
    counts = {kind: len(preferred(kind)) for kind in get_args(Kind)}
    if not any(counts.values()):
        return
    st.markdown(
        f"You have chosen: {', '.join(f'{count} {kind}' for kind, count in counts.items() if count)}."
    )
    st.button(
        "Forget pins and exclusions",
        on_click=forget,
        help="Use the references again as the selection rule orders them.",
    )


def _keep(kind: Kind, ids: tuple[str, ...]) -> tuple[str, ...]:
    view().keep(kind, ids, (), lambda ids: ",".join(quote(identifier, safe="/ ") for identifier in ids))
    return ids


def _ids(text: str) -> Any:
    found = several(_id, _MOST)(text)
    return found if found is REFUSED else tuple(dict.fromkeys(found))


def _id(text: str) -> Any:
    """What might name a record of a library, which may be another one."""
    name = unquote(text)
    return name if name.isprintable() and 0 < len(name) <= _LONGEST else REFUSED
