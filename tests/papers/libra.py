"""Libra-CAM and threshold calibration (methods.md, 1.3 to 1.5)."""

import numpy as np

from papers.network import Outcome, normalised, upsampled


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
    for pixel in sorted(range(flat.size), key=flat.tolist().__getitem__)[:removed]:
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


METHODS = {"libra-cam": libra_cam}
