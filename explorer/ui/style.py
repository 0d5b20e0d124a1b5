"""Rules of style that the page gets before what they lay out."""

import streamlit as st


def style(rules: str) -> None:
    """Adds rules of CSS, which take no room on the page; as ``st.html`` they would come late."""
    st.markdown(f"<style>{rules}</style>", unsafe_allow_html=True)
