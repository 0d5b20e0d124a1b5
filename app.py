"""The explorer: ``streamlit run app.py``."""

from explorer.ui.entry import run

run()
