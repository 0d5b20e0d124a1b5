"""What every refusal has in common."""


class ExplorerError(ValueError):
    """Input that cannot be served. Its text is one sentence for the user: what, why, and the remedy."""
