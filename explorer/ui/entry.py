"""The entry of the page: navigation, the shared controls, the chosen page."""

from pathlib import Path

import streamlit as st

from explorer.ui import compare, evaluate, faithfulness, lab, learn, libraries, models
from explorer.ui.canvas import Look, look_bar
from explorer.ui.delivery import deliver_all
from explorer.ui.offline import offline_line
from explorer.ui.sidebar import Choice, controls
from explorer.ui.view import REFUSED, view

_HERE = Path(__file__).resolve().parent
# In a checkout the assets lie beside the package, in an installed package inside it.
_ASSETS = next(path for path in (_HERE.parent / "assets", _HERE.parents[1] / "assets") if path.is_dir())


def run() -> None:
    """Draws the explorer; called once for each run of the script."""
    deliver_all()
    st.set_page_config("CAM Explorer", _ASSETS / "icon.svg", layout="wide")
    st.logo(_ASSETS / "logo.svg", size="large")
    pages = [
        st.Page(lambda: compare.show(choice, _look()), title="Compare", url_path="compare", default=True),
        st.Page(lambda: lab.show(choice, _look()), title="Libra lab", url_path="lab"),
        st.Page(lambda: faithfulness.show(choice), title="Faithfulness", url_path="faithfulness"),
        st.Page(lambda: libraries.show(choice), title="Libraries", url_path="libraries"),
        st.Page(lambda: evaluate.show(choice), title="Evaluate", url_path="evaluate"),
        st.Page(lambda: models.show(choice, pages[0]), title="Your model", url_path="model"),
        st.Page(lambda: learn.show(choice, _look), title="Learn", url_path="learn"),
    ]
    page = st.navigation(pages, position="top")
    notice = st.empty()
    with st.sidebar:
        choice: Choice = controls({lab.SIZE} if page.url_path == "lab" else ())
    page.run()
    offline_line()
    if refused := view().refused:
        notice.warning(
            "The link holds values that are not known here, which are left out or give way to the defaults: "
            f"{', '.join(refused)}."
        )
    view().publish()


def _look() -> Look:
    """The look bar, whose state lives in the view like that of every control."""
    kept = view()
    start = kept.seed("look", Look(), lambda text: Look.from_text(text) or REFUSED)
    turned = kept.turned["look"]
    key = f"look bar {turned}" if turned else "look bar"
    look = look_bar(start, key=key, on_change=lambda: None)
    return kept.keep("look", look, Look(), Look.to_text)


if __name__ == "__main__":
    run()
