"""Where everything that is kept lies on this machine."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def home() -> Path:
    """EXPLORER_HOME, else the user's cache directory."""
    override = os.environ.get("EXPLORER_HOME")
    return Path(override) if override else user_cache_path("cam-explorer")


def is_name(name: str) -> bool:
    """Whether a library or a model can be called so: 1 to 60 printable characters."""
    return bool(name.strip()) and len(name) <= 60 and name.isprintable()
