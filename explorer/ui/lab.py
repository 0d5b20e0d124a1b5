"""The Libra lab: which references make a Libra-CAM map, and where to cut it."""

from functools import lru_cache

import streamlit as st
from PIL import Image

from explorer.compute import Explanation, ReferencesUsed
from explorer.library import Library
from explorer.methods.libra import LibraCAM
from explorer.render.charts import gains_chart
from explorer.render.overlay import jpeg
from explorer.ui.board import Board, Row, measure_rest
from explorer.ui.canvas import Look
from explorer.ui.cells import calibration_block, map_cell, picture_cell, plain, target_choice
from explorer.ui.gallery import Item, gallery
from explorer.ui.live import chosen_row, live
from explorer.ui.sidebar import Choice

_SHOWN = 120


def show(choice: Choice, look: Look) -> None:
    """Draws the page for one of the chosen pictures."""
    if not any(isinstance(method, LibraCAM) for method in choice.methods):
        st.info("The Libra lab shows Libra-CAM at work: add Libra-CAM to the methods in the sidebar.")
        return

    def lab(board: Board) -> None:
        if not board.rows:
            return
        row = chosen_row(board.rows, "lab")
        job, former = next((job, former) for method, job, former in row.cells if isinstance(method, LibraCAM))
        explanation = job.result or former
        left, middle, right = st.columns([1, 1, 1.4])
        with left:
            st.markdown("**What the network sees**")
            picture_cell(row.picture, row.prediction.box)
            target_choice(row.picture, row.prediction)
        with middle:
            st.markdown("**Libra-CAM**")
            map_cell(row.picture, job, former, look)
        if explanation is None or explanation.references is None:
            return
        with right:
            _summary(explanation, explanation.references)
            left_over = measure_rest(board, row)
            st.caption(
                f"Measuring {left_over} other references in the background."
                if left_over
                else "All references are measured: the library size changes the map at once."
            )
        st.subheader("Threshold calibration", anchor=False)
        calibration_block(row, look)
        st.subheader("References", anchor=False)
        _gallery(row, explanation, explanation.references)

    live(choice, lab)


def _summary(explanation: Explanation, used: ReferencesUsed) -> None:
    kept = int(used.kept.sum())
    st.markdown(f"**{kept} of {len(used.kept)} references kept** ({used.available} available)")
    st.plotly_chart(
        gains_chart(
            used.gains.tolist(),
            used.kept.tolist(),
            [used.library.ids[index] for index in used.indices.tolist()],
        ),
        key="gains",
        config={"displaylogo": False},
    )
    info = used.library.info
    rule = (
        f"Only {used.qualified} pictures meet the rule of confident other classes, so those with the lowest "
        "target probability stand in."
        if used.fallback
        else f"{used.qualified} pictures meet the rule."
    )
    st.caption(plain(f"Library {info.name}: {info.records} records, {info.source}. {rule}"))


def _gallery(row: Row, explanation: Explanation, used: ReferencesUsed) -> None:
    library = used.library
    entries = list(zip(used.indices.tolist(), used.gains.tolist(), used.kept.tolist(), strict=True))
    if len(entries) > _SHOWN:
        st.caption(f"The first {_SHOWN} of {len(entries)} are shown.")
    items, chances = [], library.chances(explanation.target)
    for index, gain, kept in entries[:_SHOWN]:
        label = row.prediction.labels[int(library.labels[index])]
        chance = float(chances[index])
        verdict = "kept" if kept else "rejected"
        items.append(
            Item(
                _thumbnail(library, index),
                f"Reference {library.ids[index]}, {label}",
                label,
                (library.ids[index], f"target {chance:.1e}", f"gain {gain:+.3f}, {verdict}"),
                verdict,
            )
        )
    gallery(items)


@lru_cache(maxsize=512)
def _thumbnail(library: Library, index: int) -> bytes:
    return jpeg(Image.fromarray(library.thumbnail(index).numpy()), 96)
