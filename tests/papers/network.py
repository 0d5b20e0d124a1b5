"""A classifier in float64, and the arithmetic that the transcriptions share."""

import copy
import functools
from typing import NamedTuple

import numpy as np
import torch


class Network:
    """A double-precision copy of a whole classifier, watched at one of its modules by hooks.

    What is asked twice is not computed twice.
    """

    def __init__(self, model, layer):
        self.model = copy.deepcopy(model).double().eval()
        self.name = layer
        self.layer = self.model.get_submodule(layer)
        self._known = {}

    def _once(self, compute, image, *others):
        key = compute, np.asarray(image, np.float64).tobytes(), *others
        if hash(key) not in self._known:
            self._known[hash(key)] = compute(image, *others)
        return self._known[hash(key)]

    def look(self, image, target, layer=None):
        """Activation and gradient of the target's logit (K, h, w), and the logits (C,).

        ``target`` may be a weight for each logit; ``layer`` another module than the usual one.
        """
        return self._once(self._look, image, tuple(target) if np.ndim(target) else target, layer)

    def _look(self, image, target, layer):
        seen = []
        watched = self.model.get_submodule(layer) if layer else self.layer
        handle = watched.register_forward_hook(lambda module, inputs, output: seen.append(output))
        logits = self.model(torch.as_tensor(image, dtype=torch.float64)[None])[0]
        handle.remove()
        slopes = torch.zeros(len(logits), dtype=torch.float64)
        if np.ndim(target):
            slopes = torch.as_tensor(target, dtype=torch.float64)
        else:
            slopes[target] = 1
        [gradient] = torch.autograd.grad(logits @ slopes, seen[0])
        return as_maps(seen[0]).detach().numpy(), as_maps(gradient).numpy(), logits.detach().numpy()

    def activation(self, image):
        return self.look(image, 0)[0]

    def logits(self, image):
        """(C,)"""
        return self._once(self.run, image)

    @torch.no_grad()
    def run(self, image):
        """The logits (C,), with whatever hooks there are."""
        return self.model(torch.as_tensor(image, dtype=torch.float64)[None])[0].numpy()

    def probabilities(self, image):
        """(C,)"""
        return softmax(self.logits(image))


def as_maps(raw):
    """An activation (1, ...) as its network stores it, as maps (K, h, w): tokens of a square after a class token,
    or channels last, which have more channels than columns in every network of the tests."""
    if raw.dim() == 3:
        side = int((raw.shape[1] - 1) ** 0.5)
        return raw[0, 1:].T.reshape(-1, side, side)
    return raw[0] if raw.shape[2] == raw.shape[3] else raw[0].permute(2, 0, 1)


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
    return shares_of_pixels(values.shape[0], size[0]) @ values @ shares_of_pixels(values.shape[1], size[1]).T


@functools.cache
def shares_of_pixels(old, new):
    """Row i holds what pixel i of ``new`` takes from the ``old`` pixels."""
    matrix = np.zeros((new, old))
    for i in range(new):
        centre = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
        left = int(centre)
        right = min(left + 1, old - 1)
        matrix[i, left] += 1 - (centre - left)
        matrix[i, right] += centre - left
    return matrix


def weighted_sum(weights, activation):
    total = np.zeros(activation.shape[1:])
    for weight, channel in zip(weights, activation, strict=True):
        total += weight * channel
    return total
