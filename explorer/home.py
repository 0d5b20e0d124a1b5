"""Where everything that is kept lies on this machine."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def home() -> Path:
    """EXPLORER_HOME, else the user's cache directory."""
    override = os.environ.get("EXPLORER_HOME")
    return Path(override) if override else user_cache_path("cam-explorer")
