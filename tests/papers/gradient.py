"""Methods that weight channels by gradients (methods.md, 2)."""

import numpy as np
import torch

from papers.network import Outcome, normalised, upsampled, weighted_sum


def grad_cam(network, image, target, references=None):
    """2.1: n(up(relu(sum_k w_k A_k))), w_k the mean of the gradient."""
    activation, gradient, _ = network.look(image, target)
    weights = [channel.mean() for channel in gradient]
    return Outcome(shown(weighted_sum(weights, activation), image))


def cam(network, image, target, references=None):
    """The weights of the last linear layer."""
    activation = network.activation(image)
    linear = [module for module in network.model.modules() if isinstance(module, torch.nn.Linear)][-1]
    weights = linear.weight[target].detach().numpy()
    return Outcome(shown(weighted_sum(weights, activation), image))


def grad_cam_plus_plus(network, image, target, references=None, official=False):
    """2.2: alpha = g^2 / (2 g^2 + sum(A_k) g^3), w_k = sum alpha relu(g).

    A negative channel sum counts as 0. The released code divides alpha by its sum over the positions of positive
    gradient, and the map by its maximum.
    """
    activation, gradient, _ = network.look(image, target)
    weights = []
    for channel, slopes in zip(activation, gradient, strict=True):
        mass = max(channel.sum(), 0)
        alphas = [g**2 / (2 * g**2 + mass * g**3) if g > 0 else 0 for g in slopes.flat]
        total = sum(alphas) if official and any(alphas) else 1
        weights.append(sum(alpha / total * slope for alpha, slope in zip(alphas, slopes.flat, strict=True)))
    signed = weighted_sum(weights, activation)
    if official:
        positive = upsampled(signed.clip(min=0), image.shape[1:])
        return Outcome(positive / positive.max())
    return Outcome(shown(signed, image))


def smooth_grad_cam_plus_plus(network, image, target, references=None, samples=4, deviation=0.3, seed=0):
    """Grad-CAM++ with the means of g, g^2 and g^3 over noisy pictures, the noise drawn in float32."""
    generator = torch.Generator().manual_seed(seed)
    activation = network.activation(image)
    gradients = []
    for _ in range(samples):
        noise = torch.randn(image.shape, generator=generator).double().numpy()
        gradients.append(network.look(image + deviation * noise, target)[1])
    first, second, third = (np.mean([gradient**power for gradient in gradients], 0) for power in (1, 2, 3))
    weights = []
    for k, channel in enumerate(activation):
        mass, weight = max(channel.sum(), 0), 0.0
        for g, g2, g3 in zip(first[k].flat, second[k].flat, third[k].flat, strict=True):
            if g > 0 and 2 * g2 + mass * g3 > 0:
                weight += g2 / (2 * g2 + mass * g3) * g
        weights.append(weight)
    return Outcome(shown(weighted_sum(weights, activation), image))


def xgrad_cam(network, image, target, references=None):
    """2.9: w_k = sum(g A) / sum(A)."""
    activation, gradient, _ = network.look(image, target)
    weights = []
    for channel, slopes in zip(activation, gradient, strict=True):
        weights.append((slopes * channel).sum() / channel.sum() if channel.sum() else 0)
    return Outcome(shown(weighted_sum(weights, activation), image))


def hires_cam(network, image, target, references=None):
    """2.12: sum_k g_k (*) A_k, then a ReLU."""
    activation, gradient, _ = network.look(image, target)
    total = np.zeros(activation.shape[1:])
    for channel, slopes in zip(activation, gradient, strict=True):
        total += channel * slopes
    return Outcome(shown(total, image))


def layer_cam(network, image, target, references=None, stages=1):
    """2.11: sum_k relu(g_k) (*) A_k."""
    assert stages == 1
    activation, gradient, _ = network.look(image, target)
    total = np.zeros(activation.shape[1:])
    for channel, slopes in zip(activation, gradient, strict=True):
        total += channel * slopes.clip(min=0)
    return Outcome(shown(total, image))


def finer_cam(network, image, target, references=None, others=3, strength=0.6):
    """Grad-CAM of the class's logit less ``strength`` times the mean of those nearest to it."""
    logits = network.logits(image)
    order = sorted(range(len(logits)), key=lambda index: abs(logits[index] - logits[target]))
    slopes = np.zeros(len(logits))
    for index in [index for index in order if index != target][:others]:
        slopes[index] = -strength / others
    slopes[target] = 1
    activation, gradient, _ = network.look(image, slopes)
    weights = [channel.mean() for channel in gradient]
    return Outcome(shown(weighted_sum(weights, activation), image))


def shown(signed, image):
    """ReLU, up-sampling, then min-max."""
    return normalised(upsampled(signed.clip(min=0), image.shape[1:]))


METHODS = {
    "cam": cam,
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "smooth-grad-cam++": smooth_grad_cam_plus_plus,
    "xgrad-cam": xgrad_cam,
    "hires-cam": hires_cam,
    "layer-cam": layer_cam,
    "finer-cam": finer_cam,
}
BLANK = {"hires-cam": {"vit_16"}}  # tokens are normalised before they are read
UNDEFINED = {"cam": {"squeezenet1_1", "vgg16", "convnext_tiny", "vit_16"}}
