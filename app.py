"""The explorer: ``streamlit run app.py``."""

from streamlit.starlette import App

from explorer.ui.middleware import MIDDLEWARE

app = App("explorer/ui/entry.py", middleware=MIDDLEWARE)
