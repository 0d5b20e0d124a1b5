"""The section of the Libra lab on the linear approximation that Libra-CAM rests on."""

import streamlit as st

from explorer.compute import Explanation, Linearity, ReferencesUsed
from explorer.render.reference_charts import differences_chart
from explorer.ui.board import Board, Row
from explorer.ui.cells import CHART
from explorer.ui.state import service, waiter


def linearity(board: Board, row: Row, explanation: Explanation, used: ReferencesUsed) -> None:
    """Draws the section."""
    st.caption(
        "Libra-CAM explains how the class's score (logit) differs between the picture and a reference as if the "
        "network were linear after this layer. Each point is a reference: the difference that the sum of its base map "
        "predicts, against the true one. The nearer the points are to the line, the more the base maps can be trusted."
    )
    job = board.watch(service().study(row.picture, explanation.request, Linearity(), waiter()))
    if job.result is None:
        st.caption("Scoring the references …")
        return
    predicted, true = job.result.predicted, job.result.true
    st.plotly_chart(
        differences_chart(
            predicted.tolist(),
            true.tolist(),
            used.kept.tolist(),
            [used.library.ids[index] for index in used.indices.tolist()],
        ),
        key=f"linearity {row.picture.digest}",
        config=CHART,
        alt="Predicted against true difference of the class score for each reference",
    )
    error, size = float((predicted - true).abs().mean()), float(true.abs().mean())
    text = f"On average the prediction is off by {error:.2f}, where the true difference is {size:.2f}."
    if error <= 1e-3 * size:
        text += " The approximation is exact here: after this layer the network only averages and adds (a linear head)."
    st.caption(text)
