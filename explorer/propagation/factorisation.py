"""Attribution guided factorisation (Gur, Ali, Wolf, AAAI 2021; github.com/shirgur/AGFVisualization).

Beside the attribution that goes backward, every convolution needs the gradient that arrives at its output. So the
network runs twice: as it is, for the gradients, and then under the rules of this file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from explorer.propagation.interpreter import Rules, follows, plain
from explorer.propagation.relevance import WITHOUT_WEIGHTS, inverse


@dataclass
class _Layer:
    """A convolution or linear layer as the network ran it.

    ``linear`` maps inputs and weights to outputs without the bias, ``maps`` is the shape that was flattened into
    ``x``, and ``joins`` says whether the output is added to another branch.
    """

    linear: Callable[[Tensor, Tensor], Tensor]
    x: Tensor
    weight: Tensor
    value: Tensor
    maps: torch.Size | None
    joins: bool = False

    def back(self, x: Tensor, weight: Tensor, upstream: Tensor) -> Tensor:
        """J^T of the linear map applied to what is upstream, in the shape of ``x``."""
        return torch.func.vjp(lambda x: self.linear(x, weight), x)[1](upstream)[0]


class _Recorder:
    """Rules that change nothing, and note every layer with weights."""

    def __init__(self) -> None:
        self.layers: list[_Layer] = []
        self._maker = WeakTensorKeyDictionary()
        self._maps = WeakTensorKeyDictionary()

    @property
    def rules(self) -> Rules:
        return {
            **dict.fromkeys(WITHOUT_WEIGHTS, plain),
            **dict.fromkeys(("conv2d", "linear"), self._weighted),
            **dict.fromkeys(("flatten", "view", "reshape"), self._flattened),
            **dict.fromkeys(("add", "radd"), self._added),
            "batch_norm": self._normalised,
        }

    def _weighted(
        self,
        operation: Callable[..., Tensor],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *window: Any,
        **options: Any,
    ) -> Tensor:
        value = operation(x, weight, bias, *window, **options)

        def linear(x: Tensor, weight: Tensor) -> Tensor:
            return operation(x, weight, None, *window, **options)

        self._maker[value] = _Layer(linear, x.detach(), weight, value, self._maps.get(x))
        self.layers.append(self._maker[value])
        return value

    def _flattened(self, operation: Callable[..., Tensor], x: Tensor, *shape: Any, **options: Any) -> Tensor:
        value = operation(x, *shape, **options)
        if x.dim() == 4 and value.dim() == 2:
            self._maps[value] = x.shape
        return value

    def _normalised(self, operation: Callable[..., Tensor], x: Tensor, *rest: Any, **options: Any) -> Tensor:
        value = operation(x, *rest, **options)
        if x in self._maker:
            self._maker[value] = self._maker[x]
        return value

    def _added(self, operation: Callable[..., Tensor], a: Any, b: Any) -> Tensor:
        if follows(a) and follows(b):
            for part in (a, b):
                if part in self._maker:
                    self._maker[part].joins = True
        return operation(a, b)


def factorised(run: Callable[[Tensor, Rules], Tensor], image: Tensor, target: int) -> Tensor:
    """The attribution (3, H, W) of a picture.

    Args:
        run: given a picture (3, H, W) and rules, the logits (C,) of the network under them.
    """
    leaf = image.detach().requires_grad_()
    recorder = _Recorder()
    logits = run(leaf, recorder.rules)
    with torch.enable_grad():
        score = _peaked(logits, target)
    layers = recorder.layers
    coming = zip(layers, torch.autograd.grad(score, [layer.value for layer in layers]), strict=True)

    def weighted(operation: Callable[..., Tensor], x: Tensor, *rest: Any, **options: Any) -> Tensor:
        layer, slope = next(coming)
        rule = partial(_rule_of(layer, layers), layer, slope)
        found: Tensor = _Attributed.apply(x, layer.value.detach(), rule)
        return found

    logits = run(leaf, {**WITHOUT_WEIGHTS, **dict.fromkeys(("conv2d", "linear"), weighted)})
    [attribution] = torch.autograd.grad(logits[target], leaf)
    return attribution


def _peaked(logits: Tensor, target: int) -> Tensor:
    """The target's share of softmax(y_t exp(-(y - y_t)^2 / 2 s^2)), s = max |y - y_t|: classes near it weigh most."""
    distance = logits - logits[target]
    spread = distance.abs().max().clamp(min=torch.finfo(logits.dtype).tiny)
    near = torch.exp(-0.5 * (distance / spread) ** 2)
    return (logits[target] * near).softmax(0)[target]


class _Attributed(torch.autograd.Function):
    """A known value, which hands back what a rule makes of the attribution that arrives at it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, rule: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.rule = rule
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *arrived: Tensor) -> tuple[Tensor, None, None]:
        return ctx.rule(arrived[0]), None, None


def _rule_of(layer: _Layer, layers: list[_Layer]) -> Callable[[_Layer, Tensor, Tensor], Tensor]:
    """Of a layer, the gradient at its output and what arrives there, what leaves at its input.

    As the authors released it: 1x1 convolutions, and the last ones of residual branches, only share.
    """
    if layer is layers[-1]:
        return _started
    if layer is layers[0]:
        return _bounded
    if layer.weight.dim() == 2:
        return _focused if layer.maps else _proportional
    pointwise = layer.weight.shape[2:] == (1, 1)
    return _proportional if pointwise or layer.joins else _guided


def _started(layer: _Layer, slope: Tensor, arrived: Tensor) -> Tensor:
    """Input times gradient, whatever arrives."""
    return layer.x * layer.back(layer.x, layer.weight, slope)


def _proportional(layer: _Layer, slope: Tensor, arrived: Tensor) -> Tensor:
    """Shared in proportion to |x| |w|."""
    return _shared(layer, layer.x.abs(), arrived)


def _shared(layer: _Layer, x: Tensor, arrived: Tensor) -> Tensor:
    weight = layer.weight.abs()
    return x * layer.back(x, weight, arrived * inverse(layer.linear(x, weight)))


def _focused(layer: _Layer, slope: Tensor, arrived: Tensor) -> Tensor:
    """Shared, and moved to where input times gradient is positive in the maps that were flattened."""
    shape = layer.maps or layer.x.shape
    products = _started(layer, slope, arrived).reshape(shape)
    focus = products.mean(1, keepdim=True).relu().expand(shape).reshape(layer.x.shape)
    sharing = _proportional(layer, slope, arrived)
    focus = focus * (sharing != 0)
    return _shifted(sharing, focus * inverse(focus.max()))


def _guided(layer: _Layer, slope: Tensor, arrived: Tensor) -> Tensor:
    """Shared, and moved to where the factorisations of input and gradient, input times gradient, and the attribution
    itself without regard to the input are large."""
    x, seen = layer.x, arrived != 0
    sharing = _proportional(layer, slope, arrived)
    focus = _started(layer, slope, arrived).mean(1, keepdim=True).relu()
    place = sharing.mean(1, keepdim=True)
    of_x = _factor(x, place)
    of_slope = _factor(layer.back(x, layer.weight, slope * seen), place)
    without_input = _shared(layer, torch.ones_like(x), arrived)
    moved = (of_x + focus * inverse(focus.max())) * sharing.sigmoid() + of_slope + without_input
    return _shifted(sharing, moved * (sharing != 0))


def _bounded(layer: _Layer, slope: Tensor, arrived: Tensor) -> Tensor:
    """The z^B rule of the picture, between its lowest and its highest number."""
    parts = (
        (layer.x, layer.weight),
        (-layer.x.amin().expand_as(layer.x), layer.weight.clamp(min=0)),
        (-layer.x.amax().expand_as(layer.x), layer.weight.clamp(max=0)),
    )
    share = arrived * inverse(torch.stack([layer.linear(x, weight) for x, weight in parts]).sum(0))
    return torch.stack([x * layer.back(x, weight, share) for x, weight in parts]).sum(0)


def _factor(values: Tensor, place: Tensor) -> Tensor:
    """Where values (1, K, h, w) look as they do where the attribution is positive rather than negative, (1, 1, h, w).

    H = sigmoid(10 values / max), R (K, 2) its means at the positive and negative places,
    W = relu((R^T R + 1)^-1 R^T H), and of W the positive row less the negative one, where it is above 0.
    """
    heights = (10 * values * inverse(values.max())).sigmoid().flatten(2)[0]
    sides = torch.stack([place.flatten() > 0, place.flatten() < 0], 1).to(heights.dtype)
    means = heights @ sides * inverse(sides.sum(0))
    weights = torch.linalg.solve(means.T @ means + torch.eye(2).to(means), means.T @ heights).relu()
    return (weights[0] - weights[1]).relu().view_as(place)


def _shifted(sharing: Tensor, more: Tensor) -> Tensor:
    """The sharing and more of it in places, less the same everywhere on its support: the total stays."""
    support = (sharing != 0).to(sharing.dtype)
    return sharing + more - support * (more.sum() * inverse(support.sum()))


FACTORISATION: Rules = {**WITHOUT_WEIGHTS, **dict.fromkeys(("conv2d", "linear"), plain)}
"""The operations that have a rule."""
