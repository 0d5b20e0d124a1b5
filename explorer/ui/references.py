"""The section of the Libra lab on references: which are used, which are rejected and why, and the visitor's own."""

import base64
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import streamlit as st
from PIL import Image
from torch import Tensor

from explorer.compute import BaseMaps, Explanation, Job, ReferencesUsed
from explorer.images import Picture
from explorer.library import Library
from explorer.methods.libra import LibraCAM, Rejection
from explorer.render.overlay import jpeg, overlay
from explorer.render.reference_charts import gains_chart
from explorer.ui.board import Board, Row
from explorer.ui.cells import CHART, plain
from explorer.ui.maps import seen_crop
from explorer.ui.preferences import Kind, preferred, toggle
from explorer.ui.state import service, waiter

_PAGE = 24
_SIDE = 112
_KEY = "references"
_HERE = Path(__file__).parent
_cards = st.components.v2.component(
    "cam_explorer_references",
    css=(_HERE / "references.css").read_text("utf-8"),
    js=(_HERE / "references.js").read_text("utf-8"),
)
_HELP: dict[Kind, str] = {
    "pinned": "Put it first and keep it whatever its gain",
    "excluded": "Never use it",
}
_LABELS: dict[Kind, str] = {"pinned": "Pin", "excluded": "Exclude"}


def references(board: Board, row: Row, explanation: Explanation, used: ReferencesUsed) -> None:
    """Draws the section."""
    method = explanation.request.method
    assert isinstance(method, LibraCAM)
    rejection = method.rejection(used.gains)
    left, right = st.columns([1.3, 1])
    with left:
        _histogram(used, rejection)
    with right:
        _rule(used, rejection)
    _gallery(board, row, explanation, used, rejection)


def _histogram(used: ReferencesUsed, rejection: Rejection) -> None:
    known = [
        (gain, keep)
        for gain, keep in zip(used.gains.tolist(), used.kept.tolist(), strict=True)
        if math.isfinite(gain)
    ]
    if not known:
        return
    below = rejection.branch == "some raise"
    marks = [("mean", rejection.mean)] if math.isfinite(rejection.mean) else []
    if rejection.limit is not None:
        marks.insert(0 if below else 1, (f"mean {'-' if below else '+'} deviation", rejection.limit))
    st.plotly_chart(
        gains_chart([gain for gain, _ in known], [keep for _, keep in known], marks),
        key="gains",
        config=CHART,
        alt="How many references have which gain, kept and rejected ones",
    )


def _rule(used: ReferencesUsed, rejection: Rejection) -> None:
    st.markdown("**Who is kept, and why**")
    st.markdown(
        "The gain of a reference is how much more probable the class gets when its base map, the picture less the "
        "reference, masks the picture. " + _reason(rejection)
    )
    if used.pinned:
        st.markdown(f"Pinned references are kept whatever their gain: {used.pinned} here.")
    info = used.library.info
    qualifying = f"{used.qualified or 'None'} of them meet the rule of confident other classes"
    if used.fallback:
        qualifying += ", too few, so those with the lowest target probability stand in"
    st.caption(plain(f"Library {info.name}: {info.records} records, {info.source}. {qualifying}."))


def _reason(rejection: Rejection) -> str:
    if rejection.limit is None:
        return (
            "Here no reference raises the probability and none stands out from the others, so all are kept."
        )
    if rejection.branch == "some raise":
        return (
            "Here some references raise it, so those that do not are rejected, and of the others those that gain less "
            f"than the mean less one standard deviation, {rejection.limit:.3f}."
        )
    return (
        "Here no reference raises the probability, so only those are kept that stand out: above the mean and one "
        f"standard deviation, {rejection.limit:.3f}."
    )


def _gallery(
    board: Board, row: Row, explanation: Explanation, used: ReferencesUsed, rejection: Rejection
) -> None:
    excluded = [used.library.ids.index(name) for name in preferred("excluded") if name in used.library.ids]
    count = len(used.indices)
    page, pages = 1, -(-count // _PAGE)
    if pages > 1:
        if st.session_state.get("reference page", 1) > pages:
            del st.session_state["reference page"]
        page = st.pagination(pages, key="reference page")
    first = _PAGE * (page - 1)
    job = board.ask(service().study(row.picture, explanation.request, BaseMaps(first, _PAGE), waiter()))
    drawn = () if job.result is None else _base_maps(row.picture, explanation, job)
    st.caption(
        "Left the reference, right its base map on the picture. In the order in which they are used"
        + (f": {first + 1} to {min(count, first + _PAGE)} of {count}." if count > _PAGE else ".")
    )
    cards = [
        _card(
            row,
            explanation,
            used.library,
            int(used.indices[place]),
            *_verdict(place, used, rejection),
            drawn[place - first] if drawn else b"",
        )
        for place in range(first, min(count, first + _PAGE))
    ]
    cards += [
        _card(row, explanation, used.library, index, "excluded", ("excluded by you",)) for index in excluded
    ]
    _cards(key=_KEY, data={"kind": "references", "cards": cards}, on_act_change=_act)


def _verdict(place: int, used: ReferencesUsed, rejection: Rejection) -> tuple[str, tuple[str, ...]]:
    """How a card looks, and what it says of the reference's gain."""
    gain, kept = float(used.gains[place]), bool(used.kept[place])
    if not math.isfinite(gain):
        return "rejected", ("rejected: the base map is constant",)
    found = f"gain {gain:+.3f}"
    if place < used.pinned:
        return "pinned", (found, "kept: pinned")
    if kept:
        return "kept", (found, "kept")
    if rejection.branch == "some raise" and gain <= 0:
        return "rejected", (found, "rejected: no gain")
    return "rejected", (found, f"rejected: below {rejection.limit:.3f}")


def _card(
    row: Row,
    explanation: Explanation,
    library: Library,
    index: int,
    kind: str,
    verdict: tuple[str, ...],
    drawn: bytes = b"",
) -> dict[str, Any]:
    name, label = library.ids[index], row.prediction.labels[int(library.labels[index])]
    chance = float(_chances(library, explanation.target)[index])
    pictures = [{"jpeg": _encoded(_thumbnail(library, index)), "alt": f"Reference {name}, {label}"}]
    if kind != "excluded":
        alt = f"Base map of reference {name} on {row.picture.name}"
        pictures.append({"jpeg": _encoded(drawn), "alt": alt})
    return {
        "id": name,
        "title": label,
        "lines": [name, f"{explanation.label}: {chance:.1e}", *verdict],
        "kind": kind,
        "pictures": pictures,
        "acts": [
            {"act": act, "label": _LABELS[act], "pressed": name in preferred(act), "help": _HELP[act]}
            for act in get_args(Kind)
        ],
    }


def _act() -> None:
    """Does what the visitor has pressed; what comes from the browser is not trusted."""
    act = (st.session_state.get(_KEY) or {}).get("act")
    if isinstance(act, Mapping) and act.get("act") in get_args(Kind) and isinstance(act.get("id"), str):
        toggle(act["act"], act["id"])


@lru_cache(maxsize=512)
def _thumbnail(library: Library, index: int) -> bytes:
    return jpeg(Image.fromarray(library.thumbnail(index).numpy()), _SIDE)


@lru_cache(maxsize=8)
def _chances(library: Library, target: int) -> Tensor:
    return library.chances(target)


@lru_cache(maxsize=16)
def _base_maps(picture: Picture, explanation: Explanation, job: Job[Tensor]) -> tuple[bytes, ...]:
    """Each base map of a settled job on what the network sees."""
    assert job.result is not None
    crop = seen_crop(picture, explanation.box, (_SIDE, _SIDE))
    return tuple(jpeg(overlay(crop, base_map.numpy(), (0, 0, 1, 1)), _SIDE) for base_map in job.result)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
