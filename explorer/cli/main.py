"""The command line: ``python -m explorer`` or ``cam-explorer``."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper

from explorer.cli import evaluate, explain, library, listings, model, remake, serve
from explorer.cli.flags import Parser
from explorer.compute import keep_freed_memory
from explorer.errors import ExplorerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0, or 2 with one sentence on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    try:
        parsed = _parser().parse_args(arguments)
        parsed.run(parsed)
    except ExplorerError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(_fault(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _fault(error: OSError) -> str:
    """What the system refused, in a sentence."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"The machine refused: {reason}. Check the disk and the connection, then run this again."
    return f"{error.filename} cannot be used ({reason}): choose another place, --out for what is written."


def _parser() -> Parser:
    """All commands; each module of this folder adds its own."""
    found = Parser(
        prog="cam-explorer", description="See where class-activation methods say a network looked."
    )
    commands = found.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for module in (serve, explain, remake, evaluate, listings, library, model):
        module.add(commands)
    return found
