"""Networks run forward as they are and backward by rules, one for each kind of operation."""

from explorer.propagation.factorisation import FACTORISATION, factorised
from explorer.propagation.interpreter import Rules, UnruledError, interpret, propagate, unruled
from explorer.propagation.relevance import EPSILON, Z_PLUS, Z_PLUS_BIASED
from explorer.propagation.rescale import RESCALE, first_row

__all__ = [
    "EPSILON",
    "FACTORISATION",
    "RESCALE",
    "Z_PLUS",
    "Z_PLUS_BIASED",
    "Rules",
    "UnruledError",
    "factorised",
    "first_row",
    "interpret",
    "propagate",
    "unruled",
]
