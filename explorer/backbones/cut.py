"""The cut of a classifier into a trunk (image to activation) and a head (activation to logits).

A backbone is traced by ``torch.fx``. A *cut point* is a node at which exactly one tensor is alive, so the
graph falls into two parts there and nothing has to be hooked.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from timm.layers import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn

from explorer.errors import ExplorerError, first_line


class UntraceableError(ExplorerError):
    """A network that torch.fx cannot trace; the sentence names the part that stops it."""


@dataclass(frozen=True)
class Layer:
    """A cut point whose activation is a spatial map.

    ``channels`` maps of ``height`` x ``width`` cells. ``layout`` says how the network stores them:
    ``"maps"`` (N, K, h, w), ``"channels-last"`` (N, h, w, K) or ``"tokens"`` (N, prefix + h*w, K), where
    ``prefix`` counts the class and register tokens that stand before the image tokens.
    """

    name: str
    aliases: tuple[str, ...]
    channels: int
    height: int
    width: int
    layout: str
    prefix: int = 0

    def to_maps(self, raw: Tensor) -> Tensor:
        """The activation as the network stores it, viewed as maps (N, K, h, w)."""
        if self.layout == "channels-last":
            return raw.permute(0, 3, 1, 2)
        if self.layout == "tokens":
            tokens = raw[:, self.prefix :].transpose(1, 2)
            return tokens.reshape(len(raw), self.channels, self.height, self.width)
        return raw

    def from_maps(self, maps: Tensor, raw: Tensor) -> Tensor:
        """Maps (M, K, h, w) stored as the network stores them; the inverse of ``to_maps``.

        Args:
            raw: an activation (1, ...) as the network stores it, whose class and register tokens are kept.
        """
        if self.layout == "channels-last":
            return maps.permute(0, 2, 3, 1)
        if self.layout == "tokens":
            kept = raw[:, : self.prefix].expand(len(maps), -1, -1)
            return torch.cat([kept, maps.flatten(2).transpose(1, 2)], 1)
        return maps

    @property
    def shape(self) -> str:
        return f"{self.channels} x {self.height} x {self.width}"


class Opaque(nn.Module):
    """A part of a network that is not traced into: the split by hand of a network that torch.fx refuses."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x)


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self._leaves = (Opaque, *get_notrace_modules())

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, self._leaves) or super().is_leaf_module(module, qualified_name)


_IN_PLACE = {
    operator.iadd: operator.add,
    operator.imul: operator.mul,
    operator.isub: operator.sub,
    operator.itruediv: operator.truediv,
}


_REFUSALS = (
    fx.proxy.TraceError,
    TypeError,
    RuntimeError,
    ValueError,
    AssertionError,
    AttributeError,
    NotImplementedError,
)


def trace(model: nn.Module, name: str) -> fx.GraphModule:
    """Traces an eval-mode model, with every in-place operation made out-of-place.

    One that is traced already keeps its graph, by whose notes its layers are named.

    An in-place operation right after a cut would overwrite the activation that all methods share.

    Raises:
        UntraceableError: the model's control flow depends on the data; says where.
    """
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]
    try:
        graph = model.graph if isinstance(model, fx.GraphModule) else _Tracer().trace(model)
    except _REFUSALS as error:
        raise UntraceableError(
            f"The network {name} cannot be traced, so it cannot be cut into trunk and head: "
            f"{first_line(error).rstrip('.')}. Choose another backbone, or give the split by hand: "
            "nn.Sequential(Opaque(trunk), Opaque(head))."
        ) from error
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for placeholder in placeholders[1:]:
        _replace_by_default(placeholder)
    for node in graph.nodes:
        if node.op == "call_function":
            node.target = _IN_PLACE.get(node.target, node.target)
            if "inplace" in node.kwargs:
                node.kwargs = {**node.kwargs, "inplace": False}
        elif node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__"):
            node.target = node.target.removesuffix("_")
    return fx.GraphModule(model, graph)


def _replace_by_default(placeholder: fx.Node) -> None:
    """An optional argument of the network becomes its default, so that it is not alive at every cut."""
    default = placeholder.args[0] if placeholder.args else None

    def replaced(old: fx.Node) -> Any:
        return default if old is placeholder else old

    for user in list(placeholder.users):
        user.args = fx.node.map_arg(user.args, replaced)
        user.kwargs = fx.node.map_arg(user.kwargs, replaced)
    placeholder.graph.erase_node(placeholder)


class _Recorder(fx.Interpreter):
    """Runs the graph once; of every tensor it notes the shape, and of which node it repeats the values."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module)
        self.shapes: dict[fx.Node, torch.Size] = {}
        self.origins: dict[fx.Node, fx.Node] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            same = (
                node
                for node in n.all_input_nodes
                if node in self.origins and self.env[node].data_ptr() == value.data_ptr()
            )
            self.shapes[n] = value.shape
            self.origins[n] = next((self.origins[node] for node in same), n)
        return value


def find_layers(traced: fx.GraphModule, image: Tensor) -> dict[Layer, fx.Node]:
    """All cut points whose activation is a spatial map that the logits depend on, in network order.

    Left out: cut points without spatial extent, views and identities (the same values again), the fixed
    average pooling, the class maps that no weights follow, and maps whose positions have no influence on the
    logits (the image tokens after a transformer's last attention, where only the class token is read).

    Args:
        image: a probe input (1, 3, H, W) for shapes and influence.
    """
    recorder = _Recorder(traced)
    with torch.no_grad():
        recorder.run(image)
    sides = _sides(recorder.shapes)
    maps: dict[fx.Node, tuple[fx.Node, Layer]] = {}
    for node in _cut_points(traced.graph):
        layer = _spatial(recorder.shapes[node], sides) if node in recorder.shapes else None
        if layer is not None and not _is_average_pooling(node, traced) and _weights_follow(node, traced):
            maps.setdefault(recorder.origins[node], (node, layer))
    found = list(maps.values())
    while found and not _influences(traced, *found[-1], image):
        found.pop()
    names = _names(traced.graph, {node: layer.height for node, layer in found})
    return {replace(layer, name=names[node][0], aliases=names[node][1:]): node for node, layer in found}


def _influences(traced: fx.GraphModule, node: fx.Node, layer: Layer, image: Tensor) -> bool:
    """Whether the logits change with the map; if they do, they also change with every map before it."""
    trunk, head = split(traced, node)
    with torch.no_grad():
        raw = trunk(image)
    with torch.enable_grad():
        raw = raw.detach().requires_grad_()
        [gradient] = torch.autograd.grad(head(raw).amax(), raw)
    return bool(layer.to_maps(gradient).any())


def split(traced: fx.GraphModule, cut: fx.Node) -> tuple[fx.GraphModule, fx.GraphModule]:
    """The trunk (image (N, 3, H, W) to raw activation) and the head (raw activation to logits (N, C))."""
    nodes = list(traced.graph.nodes)
    position = nodes.index(cut)
    trunk = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in nodes[: position + 1]:
        copies[node] = trunk.node_copy(node, lambda old: copies[old])
    trunk.output(copies[cut])
    head = fx.Graph()
    inner = {cut: head.placeholder("activation")}
    for node in nodes[:position]:
        if node.op == "get_attr":
            inner[node] = head.node_copy(node)
    for node in nodes[position + 1 :]:
        inner[node] = head.node_copy(node, lambda old: inner[old])
    return _module(traced, trunk), _module(traced, head)


def tapped(traced: fx.GraphModule, cuts: Sequence[fx.Node]) -> fx.GraphModule:
    """The network (image (N, 3, H, W) to logits (N, C)) that also gives the raw activations at cuts before them."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        if node.op == "output":
            graph.output((*(copies[cut] for cut in cuts), copies[node.args[0]]))
        else:
            copies[node] = graph.node_copy(node, lambda old: copies[old])
    return _module(traced, graph)


def _module(traced: fx.GraphModule, graph: fx.Graph) -> fx.GraphModule:
    """Of the nodes that count, with no parameter but theirs."""
    part = fx.GraphModule(traced, graph)
    part.graph.eliminate_dead_code()
    return fx.GraphModule(part, part.graph)


def _cut_points(graph: fx.Graph) -> list[fx.Node]:
    nodes = [node for node in graph.nodes if node.op != "get_attr"]
    position = {node: i for i, node in enumerate(nodes)}
    last_use = {node: max((position[user] for user in node.users), default=-1) for node in nodes}
    points: list[fx.Node] = []
    alive: set[fx.Node] = set()
    for i, node in enumerate(nodes):
        alive = {other for other in alive if last_use[other] > i}
        if last_use[node] > i:
            alive.add(node)
        if alive == {node} and node.op != "placeholder":
            points.append(node)
    return points


def _is_average_pooling(node: fx.Node, traced: fx.GraphModule) -> bool:
    return node.op == "call_module" and isinstance(
        traced.get_submodule(str(node.target)), nn.AdaptiveAvgPool2d
    )


def _weights_follow(cut: fx.Node, traced: fx.GraphModule) -> bool:
    nodes = list(traced.graph.nodes)
    later = nodes[nodes.index(cut) + 1 :]
    return any(
        node.op == "get_attr"
        or (node.op == "call_module" and any(True for _ in traced.get_submodule(node.target).parameters()))
        for node in later
    ) or any(other.op == "get_attr" for node in later for other in node.all_input_nodes)


def _names(graph: fx.Graph, heights: dict[fx.Node, int]) -> dict[fx.Node, tuple[str, ...]]:
    """For each node the names of the modules whose output it is, the clearest first.

    The shortest name is the clearest (``layer4`` rather than ``layer4.2.relu``), but a module in which the
    resolution changes more than once is most of the network (``features.12`` rather than ``features``).
    """
    paths = {
        node: [path.split("@")[0] for path in node.meta.get("nn_module_stack", {}) if path]
        for node in graph.nodes
    }
    last = {path: node for node in graph.nodes for path in paths[node]}
    names = {}
    for node in heights:
        ended = sorted((path for path, end in last.items() if end is node), key=len)
        wide = [p for p in ended if len({h for other, h in heights.items() if p in paths[other]}) > 2]
        own = ".".join([*paths[node][-1:], node.name])
        names[node] = tuple([path for path in ended if path not in wide] + wide) or (own,)
    return names


def _sides(shapes: dict[fx.Node, torch.Size]) -> set[int]:
    """The heights of all square maps in the network, which tell image tokens from other sequences."""
    maps = [shape for node, shape in shapes.items() if len(shape) == 4 and node.op != "placeholder"]
    return {shape[1] for shape in maps if shape[1] == shape[2]} | {
        shape[2] for shape in maps if shape[2] == shape[3]
    }


def _spatial(shape: torch.Size, sides: set[int]) -> Layer | None:
    match tuple(shape):
        case (_, channels, height, width) if height == width > 1:
            return Layer("", (), channels, height, width, "maps")
        case (_, height, width, channels) if height == width > 1:
            return Layer("", (), channels, height, width, "channels-last")
        case (_, tokens, channels):
            side = math.isqrt(tokens)
            if side > 1 and side in (sides or {side}) and tokens - side * side < side:
                return Layer("", (), channels, side, side, "tokens", prefix=tokens - side * side)
    return None
