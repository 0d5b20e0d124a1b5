"""Networks run forward as they are and backward by rules, one for each kind of operation."""

from explorer.propagation.interpreter import Rules, UnruledError, propagate, unruled
from explorer.propagation.relevance import EPSILON, Z_PLUS, Z_PLUS_BIASED
from explorer.propagation.rescale import RESCALE, multipliers_seed

__all__ = [
    "EPSILON",
    "RESCALE",
    "Z_PLUS",
    "Z_PLUS_BIASED",
    "Rules",
    "UnruledError",
    "multipliers_seed",
    "propagate",
    "unruled",
]
