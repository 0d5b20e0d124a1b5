"""What every refusal has in common."""


class ExplorerError(ValueError):
    """Input that cannot be served. Its text is one sentence for the user: what, why, and the remedy."""


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, else its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
