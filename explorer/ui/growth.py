"""The section of the Libra lab on convergence: how many references are enough."""

import streamlit as st

from explorer.compute import BACKGROUND, Convergence, Explanation, all_references
from explorer.convergence import ENOUGH, Spread, enough
from explorer.metrics import find
from explorer.render.reference_charts import growth_chart
from explorer.ui.board import Board, Row
from explorer.ui.cells import CHART
from explorer.ui.state import service, waiter

_ORDERS = 8
_DEAR = Convergence(find("adcc")(), orders=3, largest=100)
_STUDIES = {
    "Map change": Convergence(None, _ORDERS),
    "Average gain": Convergence(find("average-gain")(), _ORDERS),
    "ADCC": _DEAR,
}


def growth(board: Board, row: Row, explanation: Explanation) -> None:
    """Draws the section."""
    request = all_references(explanation.request)
    spreads: dict[str, Spread | None] = {}
    for title, study in _STUDIES.items():
        job = board.watch(service().study(row.picture, request, study, waiter(), priority=BACKGROUND))
        spreads[title] = job.result
    change, mark = spreads["Map change"], None
    if change is not None:
        st.markdown(f"**{verdict(change)}**")
        mark = size if (size := enough(change)) < change.sizes[-1] else None
    st.caption(
        f"Enough is the smallest of these sizes from which on the map changes by less than {ENOUGH:g} on average. The "
        "change is 1 less the correlation with the map of the whole library: 0 for the same map, 1 for an unrelated "
        f"one. Each line is the mean over {_ORDERS} orders of the same references, their own and random ones; the band "
        "reaches from the lowest to the highest. All maps are plain, not cut."
    )
    for column, (title, spread) in zip(st.columns(3), spreads.items(), strict=True):
        with column:
            st.markdown(f"**{title}**")
            if spread is None:
                st.caption("Measuring …")
                continue
            first = title == "Map change"
            st.plotly_chart(
                growth_chart(spread, title, mark, level=ENOUGH if first else None),
                key=f"growth {title} {row.picture.digest}",
                config=CHART,
                alt=f"{title} against the number of references, mean and band over several orders",
            )
    st.caption(
        f"ADCC makes every map a second time, on the masked picture, a forward pass for each reference; so it is "
        f"measured up to {_DEAR.largest} references and over {_DEAR.orders} orders, in about 600 passes at most."
    )


def verdict(change: Spread) -> str:
    """How many references are enough, in a sentence."""
    size, whole = enough(change), change.sizes[-1]
    if size == whole:
        return f"Fewer than all {whole} references are not enough here: a larger library may still change the map."
    return f"{size} of {whole} references are enough here."
