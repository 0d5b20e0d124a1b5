"""``serve``: the page."""

import argparse
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    serve = commands.add_parser("serve", help="open the explorer in the browser")
    serve.add_argument("streamlit_options", nargs="*", help="passed on to streamlit, after --")
    serve.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> None:
    from streamlit.web import cli as streamlit

    page = Path(__file__).parents[1] / "ui" / "launch.py"
    sys.exit(streamlit.main(["run", str(page), *_settings(), *arguments.streamlit_options]))


def _settings() -> Iterator[str]:
    """The settings of the page as flags: streamlit itself finds them only when started in a checkout."""
    here = Path(__file__).resolve().parents[1]
    # In a checkout the settings lie beside the package, in an installed package inside it.
    folder = next(path for path in (here / "settings", here.parent / ".streamlit") if path.is_dir())
    sections = [("", tomllib.loads((folder / "config.toml").read_text("utf-8")))]
    for prefix, values in sections:
        for name, value in values.items():
            if isinstance(value, dict):
                sections.append((f"{prefix}{name}.", value))
            else:
                yield f"--{prefix}{name}={str(value).lower() if isinstance(value, bool) else value}"
