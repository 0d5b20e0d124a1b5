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


def inverse(z: Tensor, epsilon: float = 0) -> Tensor:
    """1 / (z + epsilon sign(z)), and 0 where z = 0."""
    nothing = z.abs() < torch.finfo(z.dtype).tiny
    return torch.where(nothing, 0, 1 / (z + epsilon * z.sign())).detach()


def _times_input(x: Tensor, part: Tensor | None = None) -> Tensor:
    """The value of x, or of a part of it, which hands back R times that value."""
    return (x if part is None else part).detach() * (1 + x - x.detach())


def _affine(
    operation: Callable[..., Tensor], x: Tensor, *arguments: Any, epsilon: float, **options: Any
) -> Tensor:
    value = operation(_times_input(x), *arguments, **options)
    return substitute(value, value * inverse(value, epsilon))


def _sum(operation: Callable[..., Tensor], a: Any, b: Any, *, epsilon: float) -> Tensor:
    value = operation(*(_times_input(part) if follows(part) else part for part in (a, b)))
    return substitute(value, value * inverse(value, epsilon))


def _max_pool(
    operation: Callable[..., Tensor], x: Tensor, *window: Any, epsilon: float, **options: Any
) -> Tensor:
    options.pop("return_indices", None)
    value, places = F.max_pool2d_with_indices(x.detach(), *window, **options)
    return substitute(value, picked(_times_input(x), places) * inverse(value, epsilon))


def _elementwise(operation: Callable[..., Tensor], x: Tensor, *arguments: Any, **options: Any) -> Tensor:
    return substitute(operation(x, *arguments, **options), x)


def _gated(operation: Callable[..., Tensor], a: Any, b: Any) -> Tensor:
    """A product passes all relevance to the signal; a gate, smaller than the signal, counts as a constant."""
    value = operation(a, b)
    signals = [part for part in (a, b) if follows(part) and part.shape == value.shape]
    if len(signals) != 1:
        raise NoRuleError("mul of two signals")
    return substitute(value, signals[0])


def _in_proportion(epsilon: float) -> Rules:
    """The rules of everything that has no weights: sums and pools share, element-wise functions pass on."""
    return {
        **dict.fromkeys(
            ("relu", "relu6", "hardtanh", "elu", "leaky_relu", "silu", "gelu", "mish"), _elementwise
        ),
        **dict.fromkeys(("hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus"), _elementwise),
        **dict.fromkeys(("mul", "rmul"), _gated),
        **dict.fromkeys(("avg_pool2d", "adaptive_avg_pool2d", "mean"), partial(_affine, epsilon=epsilon)),
        **dict.fromkeys(("add", "radd"), partial(_sum, epsilon=epsilon)),
        "max_pool2d": partial(_max_pool, epsilon=epsilon),
    }


_EPSILON = 1e-9

EPSILON: Rules = {
    **_in_proportion(_EPSILON),
    **dict.fromkeys(("conv2d", "linear", "batch_norm"), partial(_affine, epsilon=_EPSILON)),
}
"""The epsilon rule everywhere, with captum's default of 1e-9."""

WITHOUT_WEIGHTS: Rules = {**_in_proportion(0), "batch_norm": _elementwise}
"""Everything but linear layers and convolutions shares; batch normalisation passes relevance on."""


def _weighted(
    operation: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *window: Any,
    biased: bool = False,
    **options: Any,
) -> Tensor:
    """z+ of linear layers and convolutions: only the positive products x+ w+ and x- w- are paid, in proportion.

    Args:
        biased: the released code adds the bias to both partial sums, where it takes relevance that nobody gets.
    """
    paid = operation(_times_input(x, x.clamp(min=0)), weight.clamp(min=0), None, *window, **options)
    paid = paid + operation(_times_input(x, x.clamp(max=0)), weight.clamp(max=0), None, *window, **options)
    total = paid.detach() if bias is None or not biased else paid.detach() + 2 * _spread(bias, paid)
    return substitute(operation(x.detach(), weight, bias, *window, **options), paid * inverse(total))


def _spread(bias: Tensor, maps: Tensor) -> Tensor:
    return bias.view(-1, *[1] * (maps.dim() - 2))


def _positive_mean(operation: Callable[..., Tensor], x: Tensor, *arguments: Any, **options: Any) -> Tensor:
    """Averages share in proportion to the activation, negative ones left out."""
    paid = operation(_times_input(x, x.clamp(min=0)), *arguments, **options)
    return substitute(operation(x, *arguments, **options), paid * inverse(paid))


Z_PLUS: Rules = {
    **WITHOUT_WEIGHTS,
    **dict.fromkeys(("conv2d", "linear"), _weighted),
    **dict.fromkeys(("adaptive_avg_pool2d", "mean"), _positive_mean),
}
"""Alpha 1, beta 0 (Relevance-CAM): batch normalisation passes relevance on, everything else shares it."""

Z_PLUS_BIASED: Rules = {**Z_PLUS, "conv2d": partial(_weighted, biased=True)}
"""As the authors released it: the bias of a convolution enters twice."""
