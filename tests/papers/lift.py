"""LIFT-CAM and LRP-CAM (methods.md, 2.4): the heads of the six networks, written out one by one.

A baseline of zeros goes with every activation. ``back`` turns multipliers of an output into those of its input.
"""

import numpy as np
import torch
from scipy.special import erf

from papers.network import Outcome, normalised, upsampled, weighted_sum


def map_of(shares, activation, image):
    return Outcome(normalised(upsampled(weighted_sum(shares, activation).clip(min=0), image.shape[1:])))


def values(module):
    """Weight and bias of a module, in numpy."""
    return tuple(part.detach().numpy() for part in (module.weight, module.bias))


def linear_of(model):
    return [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]


def quotient(y, y0, x, x0, slope):
    """(y - y0) / (x - x0), entry by entry."""
    found = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = x[place] - x0[place]
        found[place] = (y[place] - y0[place]) / step if abs(step) > 1e-10 else slope(x[place])
    return found


def relu(x):
    return np.maximum(x, 0)


def gelu(x):
    return 0.5 * x * (1 + erf(x / 2**0.5))


def rescale(function, x, x0):
    def slope(at):
        return (function(at + 1e-6) - function(at - 1e-6)) / 2e-6

    return quotient(function(x), function(x0), x, x0, slope)


def bins(old, new):
    """Row i holds the weights with which adaptive average pooling makes cell i of ``new`` from ``old`` cells."""
    matrix = np.zeros((new, old))
    for i in range(new):
        first, last = i * old // new, -(-(i + 1) * old // new)
        matrix[i, first:last] = 1 / (last - first)
    return matrix


def lift_cam(network, image, target, references=None):
    activation = network.activation(image)
    shares = LIFT[type(network.model).__name__](network, image, activation, target)
    return map_of(shares, activation, image)


def lift_pooled(network, image, activation, target):
    weight, _ = values(linear_of(network.model))
    return [weight[target, k] * channel.mean() for k, channel in enumerate(activation)]


def lift_squeezenet(network, image, activation, target):
    weight, bias = values(network.model.classifier[1])
    weight, bias = weight[target, :, 0, 0], bias[target]
    scores = weighted_sum(weight, activation) + bias
    slopes = rescale(relu, scores, np.full_like(scores, bias)) / scores.size
    return [weight[k] * (slopes * channel).sum() for k, channel in enumerate(activation)]


def vgg_layers(network):
    return [values(network.model.classifier[i]) for i in (0, 3, 6)]


def lift_vgg(network, image, activation, target):
    (w1, b1), (w2, b2), (w3, _) = vgg_layers(network)
    rows, columns = (bins(size, 7) for size in activation.shape[1:])
    pooled = np.stack([rows @ channel @ columns.T for channel in activation])
    z1, z01 = w1 @ pooled.ravel() + b1, b1
    z2, z02 = w2 @ relu(z1) + b2, w2 @ relu(z01) + b2
    multipliers = w3[target] * rescale(relu, z2, z02)
    multipliers = (multipliers @ w2) * rescale(relu, z1, z01)
    multipliers = (multipliers @ w1).reshape(pooled.shape)
    back = [rows.T @ channel @ columns for channel in multipliers]
    return [(here * channel).sum() for here, channel in zip(back, activation, strict=True)]


class LayerNorm:
    """One token x, and its baseline x0; c / s - c0 / s0 is split into (c - c0) / s and c0 (1/s - 1/s0)."""

    def __init__(self, module, x, x0):
        self.weight, self.bias = values(module)
        self.c, self.c0 = x - x.mean(), x0 - x0.mean()
        self.s, self.s0 = ((part @ part / len(part) + module.eps) ** 0.5 for part in (self.c, self.c0))
        self.y, self.y0 = (
            part / spread * self.weight + self.bias for part, spread in ((self.c, self.s), (self.c0, self.s0))
        )

    def back(self, multipliers):
        multipliers = multipliers * self.weight
        direct = multipliers / self.s
        change = (1 / self.s - 1 / self.s0) / (self.s**2 - self.s0**2) if self.s != self.s0 else 0
        through = (multipliers @ self.c0) * change * (self.c + self.c0) / len(self.c)
        total = direct + through
        return total - total.mean()


def lift_convnext(network, image, activation, target):
    weight, _ = values(linear_of(network.model))
    pooled = activation.mean((1, 2))
    norm = LayerNorm(network.model.classifier[0], pooled, np.zeros_like(pooled))
    return norm.back(weight[target]) * pooled


def tokens_of(network, image):
    """(T, K), class token first."""
    seen = []
    handle = network.layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.run(image)
    handle.remove()
    return seen[0][0].numpy()


def logarithmic_mean(p, p0):
    return p if p == p0 else (p - p0) / np.log(p / p0)


def attention_of_the_class_token(module, norms):
    """What the class token gets from the normalised tokens, at input and baseline, and the way back to them.

    A product's change is shared evenly between the two orders in which its factors can change.
    """
    weight, bias = module.in_proj_weight.detach().numpy(), module.in_proj_bias.detach().numpy()
    width, heads = len(weight) // 3, module.num_heads
    size = width // heads
    out, shift = values(module.out_proj)
    tokens = [np.stack([norm.y for norm in norms]), np.stack([norm.y0 for norm in norms])]
    mixed = [[], []]
    seen = []
    for head in range(heads):
        rows = [slice(part * width + head * size, part * width + (head + 1) * size) for part in range(3)]
        q = [here[0] @ weight[rows[0]].T + bias[rows[0]] for here in tokens]
        k = [here @ weight[rows[1]].T + bias[rows[1]] for here in tokens]
        v = [here @ weight[rows[2]].T + bias[rows[2]] for here in tokens]
        p = []
        for i in range(2):
            scores = np.exp(k[i] @ q[i] / size**0.5)
            p.append(scores / scores.sum())
            mixed[i].append(p[i] @ v[i])
        seen.append((rows, q, k, v, p))

    def back(multipliers):
        multipliers = (multipliers @ out).reshape(heads, size)
        result = np.zeros_like(tokens[0])
        for m, (rows, q, k, v, p) in zip(multipliers, seen, strict=True):
            result += np.outer((p[0] + p[1]) / 2, m) @ weight[rows[2]]
            m = (v[0] + v[1]) / 2 @ m
            means = np.array([logarithmic_mean(*pair) for pair in zip(*p, strict=True)])
            m = (np.diag(means) - np.outer(means, means) / means.sum()) @ m / size**0.5
            result[0] += m @ (k[0] + k[1]) / 2 @ weight[rows[0]]
            result += np.outer(m, (q[0] + q[1]) / 2) @ weight[rows[1]]
        return result

    return *(np.concatenate(parts) @ out.T + shift for parts in mixed), back


def vit_contributions(network, image, target):
    """(T, K), of every token, with the class token first."""
    block, final = network.model.encoder.layers[-1], network.model.encoder.ln
    x = tokens_of(network, image)
    norms = [LayerNorm(block.ln_1, token, np.zeros_like(token)) for token in x]
    mixed, mixed0, back = attention_of_the_class_token(block.self_attention, norms)
    y, y0 = x[0] + mixed, mixed0
    norm = LayerNorm(block.ln_2, y, y0)
    (w1, b1), (w2, b2) = values(block.mlp[0]), values(block.mlp[3])
    z, z0 = w1 @ norm.y + b1, w1 @ norm.y0 + b1
    last = LayerNorm(final, y + w2 @ gelu(z) + b2, y0 + w2 @ gelu(z0) + b2)
    multipliers = last.back(values(linear_of(network.model))[0][target])
    multipliers = multipliers + norm.back(((multipliers @ w2) * rescale(gelu, z, z0)) @ w1)
    result = np.stack([norm.back(m) for norm, m in zip(norms, back(multipliers), strict=True)])
    result[0] += multipliers
    return result * x


def lift_vit(network, image, activation, target):
    return vit_contributions(network, image, target)[1:].sum(0)


LIFT = {
    "SqueezeNet": lift_squeezenet,
    "EfficientNet": lift_pooled,
    "ResNet": lift_pooled,
    "VGG": lift_vgg,
    "ConvNeXt": lift_convnext,
    "VisionTransformer": lift_vit,
}


def share(x, weight, z, relevance):
    """The epsilon rule of z = weight x + bias: each input gets x_i w_ji / z_j of what output j has."""
    return x * (weight.T @ (relevance / (z + np.where(z < 0, -1e-9, 1e-9))))


def lrp_cam(network, image, target, references=None):
    activation = network.activation(image)
    shares = LRP[type(network.model).__name__](network, activation, target)
    return map_of(shares, activation, image)


def lrp_pooled(network, activation, target):
    weight, bias = values(linear_of(network.model))
    means = activation.mean((1, 2))
    logits = weight @ means + bias
    start = np.zeros_like(logits)
    start[target] = logits[target]
    relevance = share(means, weight, logits, start)
    shares = []
    for value, channel, mean in zip(relevance, activation, means, strict=True):
        spread = channel / channel.size / mean * value if mean else np.zeros_like(channel)
        shares.append(spread.sum())
    return shares


def lrp_squeezenet(network, activation, target):
    weight, bias = values(network.model.classifier[1])
    weight, bias = weight[target, :, 0, 0], bias[target]
    shares = np.zeros(len(weight))
    scores = weighted_sum(weight, activation) + bias
    for place in np.ndindex(scores.shape):
        z = scores[place]
        relevance = max(z, 0) / scores.size
        shares += share(activation[(slice(None), *place)], weight[None], np.array([z]), np.array([relevance]))
    return shares


def lrp_vgg(network, activation, target):
    (w1, b1), (w2, b2), (w3, b3) = vgg_layers(network)
    rows, columns = (bins(size, 7) for size in activation.shape[1:])
    pooled = np.stack([rows @ channel @ columns.T for channel in activation]).ravel()
    z1 = w1 @ pooled + b1
    z2 = w2 @ relu(z1) + b2
    z3 = w3 @ relu(z2) + b3
    relevance = np.zeros_like(z3)
    relevance[target] = z3[target]
    relevance = share(relu(z2), w3, z3, relevance)
    relevance = share(relu(z1), w2, z2, relevance)
    relevance = share(pooled, w1, z1, relevance).reshape(-1, 7, 7)
    pooled = pooled.reshape(-1, 7, 7)
    pool = np.kron(rows, columns)
    return [
        share(channel.ravel(), pool, z.ravel(), r.ravel()).sum()
        for channel, z, r in zip(activation, pooled, relevance, strict=True)
    ]


LRP = {
    "SqueezeNet": lrp_squeezenet,
    "EfficientNet": lrp_pooled,
    "ResNet": lrp_pooled,
    "VGG": lrp_vgg,
}

METHODS = {"lift-cam": lift_cam, "lrp-cam": lrp_cam}
UNDEFINED = {"lrp-cam": {"convnext_tiny", "vit_16"}}
