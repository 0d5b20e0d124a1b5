"""The section of the Libra lab that sets the map beside that of another library or selection rule."""

from dataclasses import replace

import streamlit as st

from explorer.compute import Explanation, Figures, Job, Request
from explorer.library import BUILT_IN, ON_THE_FLY, RULES
from explorer.ui.board import Board, Row
from explorer.ui.canvas import Look
from explorer.ui.cells import draw_map, fault, plain, summary, waiting
from explorer.ui.maps import difference_picture
from explorer.ui.sidebar import libraries
from explorer.ui.state import service, waiter
from explorer.ui.strip import Chosen, Strip, best
from explorer.ui.view import bound, one_of, selected


def versus(board: Board, row: Row, explanation: Explanation, chosen: Chosen, look: Look) -> None:
    """Draws the section."""
    st.caption(
        "The same picture, class and library size with other references: where the two maps differ, the map depends on "
        "the choice of the library and not only on the network."
    )
    other = _other(explanation)
    job = board.ask(service().explanation(row.picture, other, waiter()))
    if job.error is not None:
        fault(job)
        return
    found = job.result
    if found is None:
        st.caption(plain(waiting(job)))
        return
    if found.attribution.blank is not None:
        st.warning(f"**Blank map.** {found.attribution.blank}")
        return
    pair = {"here": explanation, "there": found}
    figures = {place: _measured(board, row, one, chosen) for place, one in pair.items()}
    known = {place: one.result for place, one in figures.items() if one and one.result}
    leading = best(known, chosen) if len(known) == 2 else {}
    names = _names(explanation.request, other)
    columns = st.columns(3)
    for column, (place, one), name in zip(columns, pair.items(), names, strict=False):
        with column:
            st.markdown(f"**{plain(name)}**")
            draw_map(row.picture, one, look, place=place)
            st.markdown(summary(one, look))
            Strip(chosen, figures[place], leading.get(place, frozenset())).draw()
    with columns[2]:
        st.markdown("**Difference**")
        difference_picture(row.picture, explanation, found, names)
        st.caption(plain(_shared(explanation, found)))


def _other(explanation: Explanation) -> Request:
    """The request that the controls ask for."""
    request = explanation.request
    names = list(libraries(request.backbone, explanation.layer.name))
    left, right = st.columns(2)
    with left:
        default = ON_THE_FLY if request.library == BUILT_IN else BUILT_IN
        library = selected(
            "versus.library",
            default,
            names,
            label="Other library",
            help="Where the references of the second map come from; those of the first are chosen in the sidebar.",
        )
    with right:
        rule = bound(
            st.selectbox,
            "versus.rule",
            request.rule,
            one_of(RULES),
            label="Other rule",
            options=list(RULES),
            format_func=str.capitalize,
            help="How the references of the second map are selected: "
            + "; ".join(map(_explained, RULES.items()))
            + ".",
        )
    return replace(request, library=library, rule=rule)


def _explained(rule: tuple[str, str]) -> str:
    name, words = rule
    return f"{name}: {words[0].lower()}{words[1:]}"


def _names(one: Request, other: Request) -> tuple[str, str]:
    """What tells the two apart; everything if nothing does."""
    if one.library != other.library and one.rule == other.rule:
        return one.library, other.library
    if one.library == other.library and one.rule != other.rule:
        return one.rule, other.rule
    return f"{one.library}, {one.rule}", f"{other.library}, {other.rule}"


def _measured(board: Board, row: Row, explanation: Explanation, chosen: Chosen) -> Job[Figures] | None:
    if not chosen.metrics:
        return None
    return board.measure(row.picture, explanation.request, chosen.metrics)


def _shared(one: Explanation, other: Explanation) -> str:
    """How many references the two maps share, and what stands in where a rule is not met."""
    assert one.references is not None
    assert other.references is not None
    first, second = (
        {used.library.digests[index] + used.library.ids[index] for index in used.indices.tolist()}
        for used in (one.references, other.references)
    )
    text = f"{len(first & second)} references are used by both."
    for used, request in ((one.references, one.request), (other.references, other.request)):
        if used.fallback:
            text += (
                f" Too few pictures of {request.library} meet the rule {request.rule}, so those with the lowest target "
                "probability stand in."
            )
    return text
