"""Methods that share the score out among the channels (methods.md, 2.4)."""

import weakref

import numpy as np
import sklearn.linear_model
import torch

from papers.masking import logits_with_channels
from papers.network import Outcome, normalised, upsampled, weighted_sum

_seen = weakref.WeakKeyDictionary()


def _logits(network, image, kept):
    """(M, C), of the activation with the channels of each row; the same question is not computed twice."""
    known, key = _seen.setdefault(network, {}), kept.tobytes()
    if key not in known:
        known[key] = logits_with_channels(network, image, kept)
    return known[key]


def _map(weights, activation, size):
    return Outcome(normalised(upsampled(weighted_sum(weights, activation).clip(min=0), size)))


def shapley_cam(network, image, target, references=None, *, pairs, channels, seed):
    """What a channel adds to y_c after those before it, averaged over orderings and their opposites."""
    activation = network.activation(image)
    by_energy = sorted(range(len(activation)), key=lambda k: -(activation[k] ** 2).sum())
    players = sorted(k for k in by_energy[: channels or len(activation)] if activation[k].any())
    generator = torch.Generator().manual_seed(seed)
    values = np.zeros(len(activation))
    for _ in range(pairs):
        forwards = [players[i] for i in torch.randperm(len(players), generator=generator)]
        for ordering in (forwards, forwards[::-1]):
            kept = np.ones((len(ordering) + 1, len(activation)))
            for moment in range(len(ordering) + 1):
                kept[moment, ordering[moment:]] = 0
            logits = _logits(network, image, kept)[:, target]
            for moment, k in enumerate(ordering):
                values[k] += (logits[moment + 1] - logits[moment]) / (2 * pairs)
    return _map(values, activation, image.shape[1:])


def lime_cam(network, image, target, references=None, *, samples, penalty, seed):
    """The lasso of y_c on channel presence z, weighted by exp(-(1 - cos(A, z A))^2 / 2)."""
    activation = network.activation(image)
    count, size = len(activation), samples or len(activation)
    kept = torch.rand(size, count, generator=torch.Generator().manual_seed(seed)).numpy() < 0.5
    outputs = _logits(network, image, kept.astype(float))[:, target]
    importance = []
    for bits in kept:
        seen = activation[bits]
        cosine = (seen * seen).sum() / np.sqrt((seen**2).sum() * (activation**2).sum())
        importance.append(np.exp(-((1 - cosine) ** 2) / 2))
    surrogate = sklearn.linear_model.Lasso(alpha=penalty, tol=1e-12, max_iter=1_000_000)
    surrogate.fit(kept.astype(float), outputs, sample_weight=np.array(importance))
    return _map(surrogate.coef_, activation, image.shape[1:])


METHODS = {"shapley-cam": shapley_cam, "lime-cam": lime_cam}
OPTIONS = {"shapley-cam": {"pairs": 2, "channels": 24}, "lime-cam": {"samples": 96, "penalty": 0.05}}
