"""AGF (methods.md, 2.8): four convolutional networks, written out layer by layer.

Every part is called with its input x and gives its output and a function that turns what arrives there, an
attribution and a gradient, into what leaves at x. The single rules are those of modules/layers.py of the authors.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_input

from papers.lift import bins
from papers.network import Outcome, normalised


def divided(a, b):
    return torch.where(b == 0, 0, a / torch.where(b == 0, 1, b))


def chain(*parts):
    def run(x):
        backs = []
        for part in parts:
            x, back = part(x)
            backs.insert(0, back)

        def back(cam, grad):
            for step in backs:
                cam, grad = step(cam, grad)
            return cam, grad

        return x, back

    return run


def relu(x, limit=torch.inf):
    slope = ((x > 0) & (x < limit)).double()
    return x.clamp(0, limit), lambda cam, grad: (cam, grad * slope)


def relu6(x):
    return relu(x, 6)


def batch_norm(module):
    scale = (module.weight / (module.running_var + module.eps).sqrt())[:, None, None]
    shift = module.bias[:, None, None] - module.running_mean[:, None, None] * scale
    return lambda x: (scale * x + shift, lambda cam, grad: (cam, grad * scale))


def max_pool(module):
    def run(x):
        size = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
        y, places = F.max_pool2d(x, *size, return_indices=True)

        def spread(values):
            flat = torch.zeros_like(x).flatten(2)
            return flat.scatter_add(2, places.flatten(2), values.flatten(2)).view_as(x)

        return y, lambda cam, grad: (x * spread(divided(cam, y)), spread(grad))

    return run


def average(sides):
    """Adaptive average pooling to so many cells a side."""

    def run(x):
        rows, columns = (torch.tensor(bins(size, sides)) for size in x.shape[2:])
        y = rows @ x @ columns.T
        return y, lambda cam, grad: (x * (rows.T @ divided(cam, y) @ columns), rows.T @ grad @ columns)

    return run


def flatten(x):
    return x.flatten(1), lambda cam, grad: (cam.view_as(x), grad.view_as(x))


def residual(main, shortcut=None):
    def run(x):
        a, back_a = main(x)
        b, back_b = shortcut(x) if shortcut else (x, lambda cam, grad: (cam, grad))

        def back(cam, grad):
            share = divided(cam, a + b)
            cam_a, grad_a = back_a(a * share, grad)
            cam_b, grad_b = back_b(b * share, grad)
            return cam_a + cam_b, grad_a + grad_b

        return a + b, back

    return run


def concatenated(*parts):
    def run(x):
        outputs, backs = zip(*(part(x) for part in parts), strict=True)
        sizes = [len(output[0]) for output in outputs]

        def back(cam, grad):
            pieces = zip(backs, cam.split(sizes, 1), grad.split(sizes, 1), strict=True)
            found = [step(*piece) for step, *piece in pieces]
            return sum(cam for cam, _ in found), sum(grad for _, grad in found)

        return torch.cat(outputs, 1), back

    return run


class Layer:
    """Forward and transposed products of a layer with any weight, without bias."""

    def __init__(self, module, x):
        self.module, self.x, self.weight = module, x, module.weight

    def times(self, x, weight):
        if self.weight.dim() == 2:
            return x @ weight.T
        return F.conv2d(x, weight, None, self.module.stride, self.module.padding, 1, self.module.groups)

    def back(self, weight, upstream):
        if self.weight.dim() == 2:
            return upstream @ weight
        options = (self.module.stride, self.module.padding, 1, self.module.groups)
        return conv2d_input(self.x.shape, weight, upstream, *options)

    def contribution(self, x, cam):
        weight = self.weight.abs()
        return x * self.back(weight, divided(cam, self.times(x, weight)))


def shift(c, r):
    support = (c != 0).double()
    return c + r - r.sum() / support.sum() * support


def factor(values, c):
    """relu of W_pos - W_neg for each position."""
    values = divided(values, values.max())
    h = torch.sigmoid(10 * values).reshape(values.shape[1], -1).numpy()
    phi = c.mean(1).flatten().numpy()
    r = np.zeros((len(h), 2))
    for column, side in enumerate((phi < 0, phi > 0)):
        if side.any():
            r[:, column] = h[:, side].mean(1)
    w = np.maximum(np.linalg.inv(r.T @ r + np.eye(2)) @ r.T @ h, 0)
    return torch.tensor(np.maximum(w[1] - w[0], 0)).view(1, 1, *values.shape[2:])


def sharing(layer, cam, grad):
    return layer.contribution(layer.x.abs(), cam)


def whole(layer, cam, grad):
    x = layer.x
    c = layer.contribution(x.abs(), cam)
    m = (x * layer.back(layer.weight, grad)).mean(1, keepdim=True).clamp(min=0)
    f_x, f_dx = factor(x, c), factor(layer.back(layer.weight, grad * (cam != 0)), c)
    a = layer.contribution(torch.ones_like(x), cam)
    r = (f_x + divided(m, m.max())) / (1 + torch.exp(-c)) + f_dx + a
    return shift(c, r * (c != 0))


def bounded(layer, cam, grad):
    """The first convolution: z^B."""
    x, weight = layer.x, layer.weight
    low, high = torch.full_like(x, x.min().item()), torch.full_like(x, x.max().item())
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    s = divided(cam, layer.times(x, weight) - layer.times(low, up) - layer.times(high, down))
    return x * layer.back(weight, s) - low * layer.back(up, s) - high * layer.back(down, s)


def focused(shape):
    """A linear layer whose input was flattened from maps (1, K, h, w)."""

    def rule(layer, cam, grad):
        c = layer.contribution(layer.x.abs(), cam)
        products = (layer.x * layer.back(layer.weight, grad)).view(shape)
        m = products.mean(1, keepdim=True).expand(shape).reshape(c.shape).clamp(min=0) * (c != 0)
        return shift(c, divided(m, m.max()))

    return rule


def start(layer, cam, grad):
    return layer.x * layer.back(layer.weight, grad)


def weighted(module, rule):
    def run(x):
        top, left = margins(module, x)
        layer = Layer(module, F.pad(x, (*left, *top)) if top or left else x)

        def back(cam, grad):
            found = rule(layer, cam, grad), layer.back(layer.weight, grad)
            if not (top or left):
                return found
            rows, columns = (
                slice(first, first + size) for (first, _), size in zip((top, left), x.shape[2:], strict=True)
            )
            return tuple(part[:, :, rows, columns] for part in found)

        return module(x), back

    return run


def margins(module, x):
    """The zeros that TensorFlow's "same" padding adds before and after, so that ceil(size / stride) cells result."""
    if not hasattr(module, "kernel_size") or "Same" not in type(module).__name__:
        return (), ()
    found = []
    for size, kernel, stride in zip(x.shape[2:], module.kernel_size, module.stride, strict=True):
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        found.append((missing // 2, missing - missing // 2))
    return found


def squeezenet(model):
    parts = [weighted(model.features[0], bounded), relu]
    for module in model.features[2:]:
        if hasattr(module, "squeeze"):
            parts += [weighted(module.squeeze, sharing), relu]
            small = chain(weighted(module.expand1x1, sharing), relu)
            large = chain(weighted(module.expand3x3, whole), relu)
            parts.append(concatenated(small, large))
        else:
            parts.append(max_pool(module))
    return chain(*parts, weighted(model.classifier[1], start), relu, average(1), flatten)


def vgg(model):
    parts = [weighted(model.features[0], bounded)]
    for module in model.features[1:]:
        if isinstance(module, torch.nn.Conv2d):
            parts.append(weighted(module, whole))
        else:
            parts.append(relu if isinstance(module, torch.nn.ReLU) else max_pool(module))
    first, second, third = (model.classifier[i] for i in (0, 3, 6))
    parts += [average(7), flatten, weighted(first, focused((1, first.in_features // 49, 7, 7))), relu]
    return chain(*parts, weighted(second, sharing), relu, weighted(third, start))


def resnet(model):
    def unit(conv, norm, rule):
        return [weighted(conv, rule), batch_norm(norm)]

    parts = [*unit(model.conv1, model.bn1, bounded), relu, max_pool(model.maxpool)]
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in stage:
            if hasattr(block, "conv3"):
                main = [*unit(block.conv1, block.bn1, sharing), relu, *unit(block.conv2, block.bn2, whole)]
                main += [relu, *unit(block.conv3, block.bn3, sharing)]
            else:
                main = [*unit(block.conv1, block.bn1, whole), relu, *unit(block.conv2, block.bn2, sharing)]
            shortcut = chain(*unit(*block.downsample, sharing)) if block.downsample else None
            parts += [residual(chain(*main), shortcut), relu]
    return chain(*parts, average(1), flatten, weighted(model.fc, start))


def efficientnet(model):
    def unit(conv, norm, rule):
        activation = [relu6] if isinstance(norm.act, torch.nn.ReLU6) else []
        return [weighted(conv, rule), batch_norm(norm), *activation]

    parts = unit(model.conv_stem, model.bn1, bounded)
    for block in (block for stage in model.blocks for block in stage):
        if hasattr(block, "conv_pwl"):
            main = [*unit(block.conv_pw, block.bn1, sharing), *unit(block.conv_dw, block.bn2, whole)]
            main += unit(block.conv_pwl, block.bn3, sharing)
        else:
            main = [*unit(block.conv_dw, block.bn1, whole), *unit(block.conv_pw, block.bn2, sharing)]
        parts.append(residual(chain(*main)) if block.has_skip else chain(*main))
    parts += unit(model.conv_head, model.bn2, sharing)
    return chain(*parts, average(1), flatten, weighted(model.classifier, start))


def peak(y, target):
    """The derivative of softmax(y_t exp(-(y - y_t)^2 / 2 s^2))_t, s = max |y - y_t|, by every y_k."""
    d = y - y[target]
    far = int(abs(d).argmax())
    s = abs(d[far])
    e = np.exp(-(d**2) / (2 * s**2))
    p = np.exp(y[target] * e - (y[target] * e).max())
    p /= p.sum()
    by_z = p[target] * ((np.arange(len(y)) == target) - p)
    found = np.zeros(len(y))
    for i in range(len(y)):
        outer = by_z[i] * y[target] * e[i]
        found[i] -= outer * d[i] / s**2
        found[target] += outer * d[i] / s**2 + by_z[i] * e[i]
        found[far] += outer * d[i] ** 2 / s**3 * np.sign(d[far])
        found[target] -= outer * d[i] ** 2 / s**3 * np.sign(d[far])
    return found


NETWORKS = {"SqueezeNet": squeezenet, "VGG": vgg, "ResNet": resnet, "EfficientNet": efficientnet}


@torch.no_grad()
def agf(network, image, target, references=None):
    run = NETWORKS[type(network.model).__name__](network.model)
    logits, back = run(torch.as_tensor(image, dtype=torch.float64)[None])
    slopes = torch.tensor(peak(logits[0].numpy(), target))[None]
    return Outcome(normalised(back(torch.zeros_like(slopes), slopes)[0][0].sum(0).numpy()))


METHODS = {"agf": agf}
UNDEFINED = {"agf": {"convnext_tiny", "vit_16"}}
EXACT = {"agf"}
