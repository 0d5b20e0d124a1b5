"""What ``serve`` has Streamlit run."""

from streamlit.starlette import App

from explorer.ui.middleware import MIDDLEWARE

app = App("entry.py", middleware=MIDDLEWARE)
