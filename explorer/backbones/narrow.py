"""The head of one class: a network's last layer narrowed to the one row that a class needs."""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from explorer.backbones.cut import split

_CLASSWISE = (nn.ReLU, nn.Dropout, nn.Identity, nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.Flatten)
_CLASSWISE_FUNCTIONS = (torch.relu, torch.flatten, F.relu, F.dropout, F.adaptive_avg_pool2d)
_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class LastLayer:
    """The head as ``after(layer(before(activation)))``, where ``after`` treats each class apart from the others.

    ``direct`` tells that ``before`` changes nothing.
    """

    before: fx.GraphModule
    layer: nn.Linear | nn.Conv2d
    after: fx.GraphModule
    direct: bool

    @property
    def classes(self) -> int:
        return len(self.layer.weight)

    def logits(self, hidden: Tensor, classes: slice | Tensor = _ALL) -> Tensor:
        """Logits (N, M) of some classes, from what ``before`` makes of activations.

        Args:
            classes: a slice, or indices (M,).
        """
        logits: Tensor = self.after(self._scores(hidden, classes))
        return logits

    def drops(self, raw: Tensor, target: int) -> Tensor | None:
        """By how much the target's logit falls (K,) when each channel of one activation (1, K, h, w) is set to zero.

        All at once from what each channel adds to the class's score at each position; None where the last layer is
        not a 1 x 1 convolution of the activation itself.
        """
        if not (self.direct and self._pointwise):
            return None
        scores = self._scores(raw, slice(target, target + 1))[0]
        without = scores - raw[0] * self.layer.weight[target]
        logits = self.after(torch.cat([scores, without])[:, None])[:, 0]
        return logits[0] - logits[1:]

    @cached_property
    def _pointwise(self) -> bool:
        layer = self.layer
        plain = isinstance(layer, nn.Conv2d) and {layer.kernel_size, layer.stride} == {(1, 1)}
        return plain and layer.padding == (0, 0)

    def _scores(self, hidden: Tensor, classes: slice | Tensor) -> Tensor:
        layer, weight = self.layer, self.layer.weight[classes]
        bias = None if layer.bias is None else layer.bias[classes]
        if isinstance(layer, nn.Linear):
            return F.linear(hidden, weight, bias)
        if self._pointwise:  # quicker as a linear layer at each position
            return F.linear(hidden.movedim(1, -1), weight[:, :, 0, 0], bias).movedim(-1, 1)
        return F.conv2d(hidden, weight, bias, layer.stride, layer.padding, layer.dilation)


def last_layer(head: fx.GraphModule) -> LastLayer | None:
    """The last Linear or Conv2d of a head, if only ReLU, pooling, flatten, dropout or squeeze follow it."""
    *_, output = head.graph.nodes
    node = output.args[0]
    while isinstance(node, fx.Node) and _is_classwise(node, head):
        node = node.args[0]
    if not isinstance(node, fx.Node) or node.op != "call_module" or len(node.users) != 1:
        return None
    layer = head.get_submodule(str(node.target))
    if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.padding_mode != "zeros"):
        return None
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        return None
    [entry] = node.all_input_nodes
    before, _ = split(head, entry)
    _, after = split(head, node)
    while entry.op == "call_module" and isinstance(
        head.get_submodule(str(entry.target)), nn.Dropout | nn.Identity
    ):
        [entry] = entry.all_input_nodes
    return LastLayer(before, layer, after, entry.op == "placeholder")


def _is_classwise(node: fx.Node, head: fx.GraphModule) -> bool:
    if len(node.all_input_nodes) != 1:
        return False
    if node.op == "call_module":
        return isinstance(head.get_submodule(str(node.target)), _CLASSWISE)
    if node.op == "call_method":
        named_sides = len(node.args) + len(node.kwargs) > 1
        return node.target in ("relu", "flatten") or (node.target == "squeeze" and named_sides)
    return node.target in _CLASSWISE_FUNCTIONS
