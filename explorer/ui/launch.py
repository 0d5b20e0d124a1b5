"""What ``serve`` has Streamlit run."""

from streamlit.starlette import App

from explorer.ui.style import MIDDLEWARE

app = App("entry.py", middleware=MIDDLEWARE)
