"""A network run under rules: every operation keeps its value, and goes backward as its rule says.

Whatever torch runs is intercepted, also inside the modules that tracing leaves whole (attention, normalisation with
activation). A rule gives, beside the value of its operation, a *surrogate*: a tensor whose ordinary gradient is what
the rule sends backward. So autograd does the bookkeeping of branches, views and broadcasting.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode

from explorer.backbones import Cut
from explorer.errors import ExplorerError

Rule = Callable[..., Any]
"""Called as rule(operation, *arguments) in the place of operation(*arguments)."""

Rules = Mapping[str, Rule]
"""A rule for each operation, by torch's name of it without underscores."""


class UnruledError(ExplorerError):
    """A network with an operation for which there is no rule; the sentence names it."""


class NoRuleError(Exception):
    """Raised by a rule that does not hold for an operation as it was called; says which."""


class _Substitute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, surrogate: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[None, Tensor]:
        return None, upstream[0]


def substitute(value: Tensor, surrogate: Tensor) -> Tensor:
    """The value with the gradient of the surrogate, both of one shape."""
    found: Tensor = _Substitute.apply(value.detach(), surrogate)
    return found


def plain(operation: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The rule that changes nothing: ordinary gradients."""
    return operation(*arguments, **options)


MOVES: Rules = dict.fromkeys(
    (
        *(
            "cat",
            "stack",
            "chunk",
            "split",
            "unbind",
            "getitem",
            "clone",
            "contiguous",
            "dropout",
            "to",
            "pad",
        ),
        *("flatten", "unflatten", "reshape", "view", "squeeze", "unsqueeze", "expand", "roll"),
        *("permute", "transpose", "movedim", "T", "mT"),
    ),
    plain,
)
"""Operations that only move values, and so relevance."""


def follows(value: Any) -> bool:
    """Whether a tensor, or one in a list of them, depends on the input of the interpreted network."""
    return any(tensor.requires_grad for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


class _Interpreter(TorchFunctionMode):
    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self._rules = {**MOVES, **rules}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("inplace"):
            kwargs = {**kwargs, "inplace": False}
        name = (func.__self__ if func.__name__ == "__get__" else func).__name__.strip("_")
        if not follows([*args, *kwargs.values()]):
            return func(*args, **kwargs)
        if name in _COMPOSED:
            with self:
                return _COMPOSED[name](*args, **kwargs)
        if name in self._rules:
            return self._rules[name](func, *args, **kwargs)
        found = func(*args, **kwargs)
        if follows(found):
            raise NoRuleError(name)
        return found


def interpret(network: Callable[[Tensor], Tensor], start: Tensor, rules: Rules, place: str) -> Tensor:
    """Runs a network, or a part of one, under rules.

    Args:
        start: its input, with ``requires_grad``.
        place: the words after the name of an operation that has no rule; they end with the remedy.

    Raises:
        UnruledError: an operation has no rule.
    """
    try:
        with torch.enable_grad(), _Interpreter(rules):
            return network(start)
    except NoRuleError as error:
        raise UnruledError(f"There is no rule for the operation {error}, {place}, or Grad-CAM.") from error


def propagate(
    cut: Cut, start: Tensor, rules: Rules, seed: Callable[[Tensor], Tensor], target: int | None = None
) -> tuple[Tensor, Tensor]:
    """Runs the head forward, and what ``seed`` says of the logits back to its activation.

    Args:
        start: (N, ...), activations as the network stores them.
        seed: given the logits, what goes backward from them.
        target: the only class whose logit goes backward; None for all.

    Returns:
        The logits (N, C), or (N, 1) of a target, and what arrives at the activations (N, ...).

    Raises:
        UnruledError: an operation of the head has no rule.
    """
    leaf = start.detach().requires_grad_()
    place = f"which follows {cut.layer.name} of {cut.backbone.name}. Choose a later layer, a convolutional network"
    logits = interpret(lambda raw: cut.logits(raw, target), leaf, rules, place)
    [arrived] = torch.autograd.grad(logits, leaf, seed(logits.detach()))
    return logits.detach(), arrived


_known: WeakKeyDictionary[fx.GraphModule, dict[int, str | None]] = WeakKeyDictionary()


def unruled(network: fx.GraphModule, start: Callable[[], Tensor], rules: Rules) -> str | None:
    """The first operation of a traced network without a rule; None where all have one. Runs it once, on ``start()``."""
    known = _known.setdefault(network, {})
    if id(rules) not in known:
        try:
            with torch.enable_grad(), _Interpreter(rules):
                network(start().requires_grad_())
            known[id(rules)] = None
        except NoRuleError as error:
            known[id(rules)] = str(error)
    return known[id(rules)]


def _attention(query: Tensor, key: Tensor, value: Tensor, *masks: Any, **options: Any) -> Tensor:
    """softmax(Q K^T scale) V, for queries, keys and values (..., T, D)."""
    scale = options.pop("scale", None) or query.shape[-1] ** -0.5
    if any(masks) or any(option not in (None, False, 0.0) for option in options.values()):
        raise NoRuleError("scaled_dot_product_attention with a mask")
    return (query * scale @ key.transpose(-2, -1)).softmax(-1) @ value


def _multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    width: int,
    heads: int,
    weight: Tensor | None,
    bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    zeros_too: bool,
    dropout: float,
    out_weight: Tensor,
    out_bias: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """``torch.nn.functional.multi_head_attention_forward`` in its single steps, for tokens (T, N, width)."""
    masks = [options.get(name) for name in ("attn_mask", "key_padding_mask")]
    if weight is None or zeros_too or any(extra is not None for extra in (bias_k, bias_v, *masks)):
        raise NoRuleError("multi_head_attention_forward with masks or separate weights")
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    parts = [
        F.linear(tokens, rows, shift).unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
        for tokens, rows, shift in zip((query, key, value), weight.chunk(3), biases, strict=True)
    ]
    mixed = _attention(*parts).permute(2, 0, 1, 3).flatten(2)
    return F.linear(mixed, out_weight, out_bias), None


_COMPOSED: dict[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head_attention,
}
