"""Relevance-CAM (methods.md, 2.6): the heads of four convolutional networks, written out one by one."""

import numpy as np

from papers.lift import bins, linear_of, relu, values, vgg_layers
from papers.network import Outcome, normalised, upsampled, weighted_sum


def divided(numerator, denominator):
    """0 where the denominator is 0."""
    safe = np.where(denominator == 0, 1, denominator)
    return np.where(denominator == 0, 0, numerator / safe)


def linear(x, weight, relevance, bias=0):
    """z+: Z = X+ W+ + X- W-, and bias in both sums where the released code has it."""
    up, down = np.maximum(weight, 0), np.minimum(weight, 0)
    high, low = np.maximum(x, 0), np.minimum(x, 0)
    share = divided(relevance, (up @ high + bias) + (down @ low + bias))
    return high * (up.T @ share) + low * (down.T @ share)


def pooling(x, matrix, relevance):
    """Adaptive average pooling of flat maps: in proportion to what is not negative."""
    positive = np.maximum(x, 0)
    return positive * (matrix.T @ divided(relevance, matrix @ positive))


def start(classes, target):
    return np.array([1.0 if c == target else -1 / classes for c in range(classes)])


def pooled(network, activation, target, official):
    weight, _ = values(linear_of(network.model))
    relevance = linear(activation.mean((1, 2)), weight, start(len(weight), target))
    matrix = np.full((1, activation[0].size), 1 / activation[0].size)
    return [pooling(a.ravel(), matrix, r[None]) for a, r in zip(activation, relevance, strict=True)]


def squeezenet(network, activation, target, official):
    weight, bias = values(network.model.classifier[1])
    weight, pixels = weight[:, :, 0, 0], activation.reshape(len(activation), -1)
    scores = relu(weight @ pixels + bias[:, None])
    matrix = np.full((1, pixels.shape[1]), 1 / pixels.shape[1])
    seeds = start(len(weight), target)
    relevance = np.array([pooling(s, matrix, r[None]) for s, r in zip(scores, seeds, strict=True)])
    columns = zip(pixels.T, relevance.T, strict=True)
    return np.array([linear(x, weight, r, bias if official else 0) for x, r in columns]).T


def vgg(network, activation, target, official):
    (w1, b1), (w2, b2), (w3, _) = vgg_layers(network)
    rows, columns = (bins(size, 7) for size in activation.shape[1:])
    matrix = np.kron(rows, columns)
    x0 = np.concatenate([matrix @ channel.ravel() for channel in activation])
    x1 = relu(w1 @ x0 + b1)
    x2 = relu(w2 @ x1 + b2)
    relevance = start(len(w3), target)
    for x, weight in ((x2, w3), (x1, w2), (x0, w1)):
        relevance = linear(x, weight, relevance)
    return [
        pooling(a.ravel(), matrix, r)
        for a, r in zip(activation, relevance.reshape(len(activation), -1), strict=True)
    ]


HEADS = {"SqueezeNet": squeezenet, "EfficientNet": pooled, "ResNet": pooled, "VGG": vgg}


def relevance_cam(network, image, target, references=None, official=False):
    activation = network.activation(image)
    relevance = HEADS[type(network.model).__name__](network, activation, target, official)
    found = weighted_sum([channel.mean() for channel in relevance], activation)
    if official:
        return Outcome(upsampled(normalised(found), image.shape[1:]))
    return Outcome(normalised(upsampled(found, image.shape[1:])))


METHODS = {"relevance-cam": relevance_cam}
UNDEFINED = {"relevance-cam": {"convnext_tiny", "vit_16"}}
