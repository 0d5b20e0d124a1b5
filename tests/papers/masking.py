"""Methods that show the network each channel, or take it away (methods.md, 2.3 and 2.10)."""

import weakref

import numpy as np
import torch

from papers.network import Outcome, normalised, softmax, upsampled, weighted_sum


def _asked(activation, channels):
    """The channels that vary, in a budget those of largest energy above zero."""
    live = [k for k, channel in enumerate(activation) if channel.max() > channel.min()]
    by_energy = sorted(live, key=lambda k: -(activation[k].clip(min=0) ** 2).sum())
    return sorted(by_energy[: channels or len(live)])


def _map(weights, activation, size):
    return Outcome(normalised(upsampled(weighted_sum(weights, activation).clip(min=0), size)))


def _by_softmax(scores, activation, size):
    """A softmax over the channels asked, {index: score}; the others weigh nothing."""
    weights = np.zeros(len(activation))
    weights[list(scores)] = softmax(np.array(list(scores.values())))
    return _map(weights, activation, size)


def score_cam(network, image, target, references=None, *, variant, channels):
    """2.3: w = softmax_k(f_c(x n(up(A_k))) - f_c(0)); the official weights are probabilities."""
    size = image.shape[1:]
    activation = network.activation(image)
    blank = network.logits(0 * image)[target]
    scores, total = {}, np.zeros(size)
    for k in _asked(activation, channels):
        if variant == "channel-softmax":
            mask = upsampled(normalised(activation[k]), size)
        else:
            mask = normalised(upsampled(activation[k], size))
        logits = network.logits(image * mask)
        scores[k] = logits[target] - blank
        total += softmax(logits)[target] * upsampled(activation[k], size)
    if variant == "official":
        return Outcome(normalised(total.clip(min=0)))
    return _by_softmax(scores, activation, size)


def ss_cam(network, image, target, references=None, *, samples, deviation, seed, channels):
    """softmax_k of the mean over the noise of f_c(x (n(up(A_k)) + noise)) - f_c(x)."""
    size = image.shape[1:]
    activation = network.activation(image)
    whole = network.logits(image)[target]
    asked = _asked(activation, channels)
    scores = dict.fromkeys(asked, 0.0)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(samples):
        seeds = torch.randint(2**31, (len(asked),), generator=generator)
        for k, own in zip(asked, seeds, strict=True):
            noise = torch.randn(size, generator=torch.Generator().manual_seed(int(own))).double().numpy()
            mask = normalised(upsampled(activation[k], size)) + deviation * noise
            scores[k] += (network.logits(image * mask)[target] - whole) / samples
    return _by_softmax(scores, activation, size)


def is_cam(network, image, target, references=None, *, steps, channels):
    """softmax_k of the mean over i of f_c(x s_i n(up(A_k))) - f_c(x), s_i the sum of j/N up to i."""
    size = image.shape[1:]
    activation = network.activation(image)
    whole = network.logits(image)[target]
    scores = {}
    for k in _asked(activation, channels):
        mask = normalised(upsampled(activation[k], size))
        strength, scores[k] = 0.0, 0.0
        for step in range(steps):
            strength += (step + 1) / steps
            scores[k] += (network.logits(image * strength * mask)[target] - whole) / steps
    return _by_softmax(scores, activation, size)


_ablated = weakref.WeakKeyDictionary()


def logits_with_channels(network, image, kept):
    """(M, C), when of the layer's channels only those stay of each row of ``kept`` (M, K)."""

    def replace(module, inputs, output):
        if output.dim() == 3:
            positions = int((output.shape[1] - 1) ** 0.5) ** 2
            many = output.repeat(len(rows), 1, 1)
            many[:, -positions:] *= rows[:, None, :]
            return many
        return output * (
            rows[:, :, None, None] if output.shape[2] == output.shape[3] else rows[:, None, None, :]
        )

    found = []
    for start in range(0, len(kept), 64):
        rows = torch.as_tensor(np.array(kept[start : start + 64]), dtype=torch.float64)
        handle = network.layer.register_forward_hook(replace)
        with torch.no_grad():
            found.append(network.model(torch.as_tensor(image, dtype=torch.float64)[None]).numpy())
        handle.remove()
    return np.concatenate(found)


def ablation_cam(network, image, target, references=None, *, official):
    """2.10: w_k = (y_c - y_c without channel k) / y_c; without its sign unless official."""
    activation = network.activation(image)
    if network not in _ablated:
        _ablated[network] = logits_with_channels(network, image, 1 - np.eye(len(activation)))
    logit = network.logits(image)[target]
    weights = [
        (logit - without[target]) / (logit if official else abs(logit)) for without in _ablated[network]
    ]
    return _map(weights, activation, image.shape[1:])


METHODS = {
    "score-cam": score_cam,
    "ss-cam": ss_cam,
    "is-cam": is_cam,
    "ablation-cam": ablation_cam,
}
OPTIONS = {
    "score-cam": {"channels": 8},
    "ss-cam": {"channels": 8, "samples": 2},
    "is-cam": {"channels": 8, "steps": 2},
}
