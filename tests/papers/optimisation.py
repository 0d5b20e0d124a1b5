"""Methods that search for a mask (methods.md, 2.5)."""

import numpy as np
import torch

from papers.network import Outcome, upsampled, weighted_sum

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OTHERWISE = {"bn2": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))}  # EfficientNet-Lite, told by the name of its layer


def slope(network, image, target):
    """The logit of the target, and its derivative by the image (3, H, W)."""
    image = torch.as_tensor(image, dtype=torch.float64).requires_grad_()
    logit = network.model(image[None])[0, target]
    [gradient] = torch.autograd.grad(logit, image)
    return logit.item(), gradient.numpy()


def shares(u):
    powers = np.exp(u - u.max())
    return powers / powers.sum()


def raised(values, size):
    """The up-sampled map, and the matrices that up-sample its columns and its rows."""
    columns = upsampled(np.eye(values.shape[0]), (size[0], values.shape[0]))
    rows = upsampled(np.eye(values.shape[1]), (size[1], values.shape[1]))
    return columns @ values @ rows.T, columns, rows


def mask_of(values, normalisation):
    """The mask of an up-sampled map, and the function that takes a derivative by the mask to one by the map."""
    if normalisation == "sigmoid":
        mask = 1 / (1 + np.exp(-values))
        return mask, lambda by_mask: by_mask * mask * (1 - mask)
    low = values.min() if normalisation == "range" else 0
    high = values.max()
    mask = (values - low) / (high - low)

    def by_values(by_mask):
        found = by_mask / (high - low)
        found.flat[values.argmax()] -= (by_mask * mask).sum() / (high - low)
        if normalisation == "range":
            found.flat[values.argmin()] -= (by_mask * (1 - mask)).sum() / (high - low)
        return found

    return mask, by_values


def opti_cam(
    network,
    image,
    target,
    references=None,
    normalisation="range",
    objective="mask",
    iterations=100,
    rate=0.1,
    official=False,
):
    """2.5, derivatives and Adam by hand; the released code where official."""
    image = np.asarray(image, np.float64)
    activation = network.activation(image).astype(np.float64)
    size = image.shape[1:]
    mean, deviation = np.array(OTHERWISE.get(network.name, IMAGENET))[:, :, None, None]
    if official:
        iterations = min(iterations, 50)
    if official or normalisation == "max":
        activation = np.maximum(activation, 0)
    plain, _ = slope(network, image, target)
    u = np.full(len(activation), 0.5)
    first, second, earlier = np.zeros_like(u), np.zeros_like(u), []
    for step in range(iterations + 1):
        weights = shares(u)
        values, columns, rows = raised(weighted_sum(weights, activation), size)
        mask, by_values = mask_of(values, normalisation)
        if step == iterations:
            break
        pixels = image * deviation + mean
        masked = (mask * pixels - mean) / deviation if official else mask * image
        logit, by_image = slope(network, masked, target)
        loss = plain - logit
        by_logit = -1.0
        if objective == "difference":
            by_logit = -np.sign(loss)
            loss = abs(loss)
        if official:
            if step and step % max(1, iterations // 10) == 0 and loss > earlier[-max(1, iterations // 10)]:
                break
        elif step and abs(loss - earlier[-1]) < 1e-10:
            break
        earlier.append(loss)
        by_mask = (by_image * (pixels / deviation if official else image)).sum(0) * by_logit
        by_map = columns.T @ by_values(by_mask) @ rows
        by_weight = np.array([(channel * by_map).sum() for channel in activation])
        by_u = weights * (by_weight - (weights * by_weight).sum())
        first = 0.9 * first + 0.1 * by_u
        second = 0.999 * second + 0.001 * by_u**2
        here, spread = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        u = u - rate * here / (np.sqrt(spread) + 1e-8)
    return Outcome(mask)


METHODS = {"opti-cam": opti_cam}
# Adam's first step is the sign of the derivative: that of a channel that hardly matters is up to rounding.
OPTIONS = {"opti-cam": {"iterations": 1, "rate": 0.001}}
