"""DeepLIFT's Rescale rule (Shrikumar, Greenside, Kundaje, ICML 2017, section 3.5.2), and its kin for products.

The network runs on two rows, input and baseline. What goes backward from the first row are *multipliers* m: for every
operation, sum m * (x - x0) over its inputs is y - y0, so that the contributions m * (x - x0) add up exactly.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.propagation.interpreter import NoRuleError, Rules, follows, plain, substitute


def first_row(logits: Tensor) -> Tensor:
    """The seed of multipliers: 1 for the input's row, 0 for the baseline's."""
    return torch.eye(2, 1).to(logits)


def _first(surrogate: Tensor) -> Tensor:
    """A surrogate of the first row, for both."""
    return torch.cat([surrogate, torch.zeros_like(surrogate)])


def _rescale(operation: Callable[..., Tensor], x: Tensor, *arguments: Any, **options: Any) -> Tensor:
    """Element by element, m = (y - y0) / (x - x0); the mean slope where x and x0 are too near to tell."""
    leaf = x.detach().requires_grad_()
    value = operation(leaf, *arguments, **options)
    slopes, slopes0 = torch.autograd.grad(value.sum(), leaf)[0].chunk(2)
    (y, y0), (here, there) = value.detach().chunk(2), x.detach().chunk(2)
    step = here - there
    apart = step.abs() > 1e-4 * (here.abs() + there.abs())
    multiplier = torch.where(apart, (y - y0) / step, (slopes + slopes0) / 2)
    return substitute(value, _first(multiplier * x.chunk(2)[0]))


def _middle(x: Tensor) -> Tensor:
    return torch.cat([x.detach().unflatten(0, (2, -1)).mean(0)] * 2)


def _product(operation: Callable[..., Tensor], a: Any, b: Any) -> Tensor:
    """The average of both orders of change: a b - a0 b0 = (a - a0) (b + b0) / 2 + (b - b0) (a + a0) / 2."""
    if not (follows(a) and follows(b)):
        return operation(a, b)
    return substitute(operation(a, b), operation(a, _middle(b)) + operation(_middle(a), b))


def _quotient(operation: Callable[..., Tensor], a: Any, b: Any) -> Tensor:
    if follows(b):
        raise NoRuleError("div by a part of the network")
    return operation(a, b)


def _softmax(operation: Callable[..., Tensor], x: Tensor, dim: int = -1, **options: Any) -> Tensor:
    """p - p0 = L (z - z0) - L <L, z - z0> / sum L, with L = (p - p0) / (log p - log p0), their logarithmic mean.

    As the Jacobian with L in the place of p, exactly: log p = z - logsumexp(z), and the changes of p add up to 0.
    """
    (p, p0), (log, log0) = (part.detach().chunk(2) for part in (x.softmax(dim), x.log_softmax(dim)))
    gap = (log - log0).abs()
    mean = torch.maximum(p, p0) * torch.where(gap > 1e-4, -torch.expm1(-gap) / gap, 1 - gap / 2)
    weighted = mean * x.chunk(2)[0]
    surrogate = weighted - mean * weighted.sum(dim, keepdim=True) / mean.sum(dim, keepdim=True)
    return substitute(operation(x, dim, **options), _first(surrogate))


def _layer_norm(
    operation: Callable[..., Tensor],
    x: Tensor,
    shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """c / s - c0 / s0 = (c - c0) / s + c0 (1/s - 1/s0), the latter through s^2 - s0^2 = mean((c + c0) (c - c0)).

    With a constant baseline c0 = 0: the deviation counts as a constant.
    """
    dims = tuple(range(-len(shape), 0))
    centred = x - x.mean(dims, keepdim=True)
    c, c0 = centred.detach().chunk(2)
    s, s0 = ((part.square().mean(dims, keepdim=True) + eps).sqrt() for part in (c, c0))
    moving = centred.chunk(2)[0]
    spread = ((c + c0) * moving).mean(dims, keepdim=True)
    surrogate = moving / s - c0 * spread / (s * s0 * (s + s0))
    if weight is not None:
        surrogate = surrogate * weight
    return substitute(operation(x, shape, weight, bias, eps), _first(surrogate))


def _max_pool(operation: Callable[..., Tensor], x: Tensor, *window: Any, **options: Any) -> Tensor:
    """y - y0 = (max(y, y0) - y0) + (y - max(y, y0)): to the largest input, and to that of the baseline."""
    options.pop("return_indices", None)
    value, places = F.max_pool2d_with_indices(x.detach(), *window, **options)
    (y, y0), (place, place0) = value.chunk(2), places.chunk(2)
    here, there = x.chunk(2)
    step, top = (here - there).detach(), torch.maximum(y, y0)

    def share(change: Tensor, chosen: Tensor) -> Tensor:
        span = picked(step, chosen)
        return torch.where(span == 0, 0, change / span) * picked(here, chosen)

    return substitute(value, _first(share(top - y0, place) + share(y - top, place0)))


def picked(x: Tensor, places: Tensor) -> Tensor:
    """The values of maps (N, K, H, W) at the places (N, K, h, w) that max pooling gives."""
    return x.flatten(2).gather(2, places.flatten(2)).view_as(places)


RESCALE: Rules = {
    **dict.fromkeys(("conv1d", "conv2d", "linear", "batch_norm", "mean", "add", "radd", "sub", "neg"), plain),
    **dict.fromkeys(("avg_pool2d", "adaptive_avg_pool2d"), plain),
    **dict.fromkeys(("relu", "relu6", "hardtanh", "elu", "leaky_relu", "silu", "gelu", "mish"), _rescale),
    **dict.fromkeys(("hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus"), _rescale),
    **dict.fromkeys(("mul", "rmul", "matmul"), _product),
    **dict.fromkeys(("div", "truediv"), _quotient),
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "max_pool2d": _max_pool,
}
