"""Layer-wise relevance propagation (Bach et al., PLOS ONE 2015): what goes backward is relevance.

An operation z = f(x) gives its inputs x * J^T (R / z), J the Jacobian of f without its offset, so that their sum is
that of R where f has no offset. Element-wise functions pass it on as it is.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.propagation.interpreter import NoRuleError, Rules, follows, substitute
from explorer.propagation.rescale import picked


def _inverse(z: Tensor, epsilon: float) -> Tensor:
    """1 / (z + epsilon sign(z)), and 0 where z = 0."""
    return torch.where(z == 0, 0, 1 / (z + epsilon * z.sign())).detach()


def _affine(
    operation: Callable[..., Tensor], x: Tensor, *arguments: Any, epsilon: float, **options: Any
) -> Tensor:
    value = operation(x.detach(), *arguments, **options)
    return substitute(value, operation(x * x.detach(), *arguments, **options) * _inverse(value, epsilon))


def _sum(operation: Callable[..., Tensor], a: Any, b: Any, *, epsilon: float) -> Tensor:
    value = operation(a, b)
    parts = [part * part.detach() for part in (a, b) if follows(part)]
    return substitute(value, sum(parts, torch.zeros_like(value)) * _inverse(value, epsilon))


def _max_pool(
    operation: Callable[..., Tensor], x: Tensor, *window: Any, epsilon: float, **options: Any
) -> Tensor:
    options.pop("return_indices", None)
    value, places = F.max_pool2d_with_indices(x.detach(), *window, **options)
    return substitute(value, picked(x * x.detach(), places) * _inverse(value, epsilon))


def _elementwise(operation: Callable[..., Tensor], x: Tensor, *arguments: Any, **options: Any) -> Tensor:
    return substitute(operation(x, *arguments, **options), x)


def _gated(operation: Callable[..., Tensor], a: Any, b: Any) -> Tensor:
    """A product passes all relevance to the signal; a gate, smaller than the signal, counts as a constant."""
    value = operation(a, b)
    signals = [part for part in (a, b) if follows(part) and part.shape == value.shape]
    if len(signals) != 1:
        raise NoRuleError("mul of two signals")
    return substitute(value, signals[0])


_ELEMENTWISE: Rules = {
    **dict.fromkeys(("relu", "relu6", "hardtanh", "elu", "leaky_relu", "silu", "gelu", "mish"), _elementwise),
    **dict.fromkeys(("hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus"), _elementwise),
    **dict.fromkeys(("mul", "rmul"), _gated),
}

_EPSILON = 1e-9

EPSILON: Rules = {
    **_ELEMENTWISE,
    **dict.fromkeys(("conv2d", "linear", "batch_norm", "mean"), partial(_affine, epsilon=_EPSILON)),
    **dict.fromkeys(("avg_pool2d", "adaptive_avg_pool2d"), partial(_affine, epsilon=_EPSILON)),
    **dict.fromkeys(("add", "radd"), partial(_sum, epsilon=_EPSILON)),
    "max_pool2d": partial(_max_pool, epsilon=_EPSILON),
}
"""The epsilon rule everywhere, with captum's default of 1e-9."""
