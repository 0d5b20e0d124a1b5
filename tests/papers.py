"""The formulas of the papers, written out naively in float64; nothing here comes from the explorer.

``METHODS`` holds one transcription for each registered method, called with a network, a picture, a class, the
references and the method's options.
"""

import copy
from typing import NamedTuple

import numpy as np
import torch


class Network:
    """A double-precision copy of a whole classifier, watched at one of its modules by hooks."""

    def __init__(self, model, layer):
        self.model = copy.deepcopy(model).double().eval()
        self.layer = self.model.get_submodule(layer)
        self._known = {}

    def look(self, image, target):
        """Activation and gradient of the target's logit (K, h, w), and the logits (C,)."""
        seen = []
        handle = self.layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
        logits = self.model(torch.as_tensor(image, dtype=torch.float64)[None])[0]
        handle.remove()
        [gradient] = torch.autograd.grad(logits[target], seen[0])
        return seen[0][0].detach().numpy(), gradient[0].numpy(), logits.detach().numpy()

    def activation(self, image):
        return self.look(image, 0)[0]

    @torch.no_grad()
    def probabilities(self, image):
        """(C,); the same picture is not computed twice."""
        key = np.asarray(image, np.float64).tobytes()
        if hash(key) not in self._known:
            logits = self.model(torch.as_tensor(image, dtype=torch.float64)[None])[0].numpy()
            self._known[hash(key)] = softmax(logits)
        return self._known[hash(key)]


class Outcome(NamedTuple):
    """A map (H, W) in [0, 1], and for methods with references which of them were kept and their gains."""

    saliency: np.ndarray
    kept: list[bool] | None = None
    gains: list[float] | None = None


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def normalised(values):
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def upsampled(values, size):
    """Bilinear between pixel centres, the outermost pixels continued (as cv2.resize)."""

    def weights(old, new):
        matrix = np.zeros((new, old))
        for i in range(new):
            centre = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
            left = int(centre)
            right = min(left + 1, old - 1)
            matrix[i, left] += 1 - (centre - left)
            matrix[i, right] += centre - left
        return matrix

    return weights(values.shape[0], size[0]) @ values @ weights(values.shape[1], size[1]).T


def weighted_sum(weights, activation):
    total = np.zeros(activation.shape[1:])
    for weight, channel in zip(weights, activation, strict=True):
        total += weight * channel
    return total


def grad_cam(network, image, target, references=None):
    """2.1: n(up(relu(sum_k w_k A_k))), w_k the mean of the gradient."""
    activation, gradient, _ = network.look(image, target)
    weights = [channel.mean() for channel in gradient]
    return Outcome(normalised(upsampled(weighted_sum(weights, activation).clip(min=0), image.shape[1:])))


def grad_cam_plus_plus(network, image, target, references=None):
    """2.2: alpha = g^2 / (2 g^2 + sum(A_k) g^3), w_k = sum alpha relu(g)."""
    activation, gradient, _ = network.look(image, target)
    weights = []
    for channel, slopes in zip(activation, gradient, strict=True):
        mass, weight = channel.sum(), 0.0
        for slope in slopes.flat:
            if slope > 0:
                weight += slope**2 / (2 * slope**2 + mass * slope**3) * slope
        weights.append(weight)
    return Outcome(normalised(upsampled(weighted_sum(weights, activation).clip(min=0), image.shape[1:])))


def libra_cam(network, image, target, references, size=30, official=False):
    """1.3, steps 2 to 5; 1.4 for the released code, which follows the top logit, and 1.5 for the mended one."""
    top = int(network.probabilities(image).argmax())
    activation, gradient, _ = network.look(image, top if official else target)
    probability = network.probabilities(image)[target]
    base_maps, gains = [], []
    for reference in np.asarray(references[:size], np.float64):
        base = np.zeros(activation.shape[1:])
        for slopes, here, there in zip(gradient, activation, reference, strict=True):
            base += slopes * (here - there)
        base = upsampled(normalised(base), image.shape[1:])
        base_maps.append(base)
        gains.append(network.probabilities(image * base)[target] - probability)
    kept = rejection(gains)
    chosen = [base for base, keep in zip(base_maps, kept, strict=True) if keep]
    return Outcome(sum(chosen) / len(chosen), kept, gains)


def rejection(gains):
    """1.3, step 4."""
    positive = [gain for gain in gains if gain > 0]
    if positive:
        limit = np.mean(positive) - np.std(positive)
        return [gain > 0 and gain >= limit for gain in gains]
    limit = np.mean(gains) + np.std(gains)
    kept = [gain > limit for gain in gains]
    return kept if any(kept) else [True] * len(gains)


def cut(saliency, removed):
    """The map without its ``removed`` smallest pixels; the others keep their soft values."""
    flat = saliency.flatten()
    for pixel in sorted(range(flat.size), key=flat.__getitem__)[:removed]:
        flat[pixel] = 0
    return flat.reshape(saliency.shape)


def calibration(network, image, saliency, target, levels, official=False):
    """1.3, step 6: the probability at each level (tenths of the area), and the cut in percent."""
    masked = []
    for level in levels:
        mask = cut(saliency, int(saliency.size * 0.1 * level))
        masked.append(network.probabilities(image * mask)[target])
    if not official:
        return masked, 10 * levels[int(np.argmax(masked))]
    gains = [max(0, value - network.probabilities(image)[target]) for value in masked]
    return masked, 10 * (levels[int(np.argmax(gains))] + 1)


METHODS = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "libra-cam": libra_cam,
}
