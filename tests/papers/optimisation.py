"""Methods that search for a mask (methods.md, 2.5 and 2.7)."""

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


def aligned(values, size):
    """The matrices that up-sample columns and rows so that the corners stay."""

    def matrix(old, new):
        found = np.zeros((new, old))
        for i in range(new):
            place = i * (old - 1) / (new - 1)
            left = min(int(place), old - 2)
            found[i, left], found[i, left + 1] = 1 - (place - left), place - left
        return found

    return matrix(values.shape[0], size[0]), matrix(values.shape[1], size[1])


def gaussian(image, side=51, sigma=50):
    """Each channel blurred, mirrored at the rim without repeating it."""
    offsets = np.arange(side) - side // 2
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (1, 2):
        length = image.shape[axis]
        total = np.zeros_like(image)
        for weight, offset in zip(kernel, offsets, strict=True):
            places = np.abs(np.arange(length) + offset)
            places = np.where(places >= length, 2 * length - 2 - places, places)
            total += weight * image.take(places, axis)
        image = total
    return image


def chance(network, image, target):
    """The probability of the target, and its derivative by the image."""
    image = torch.as_tensor(image, dtype=torch.float64).requires_grad_()
    probability = network.model(image[None]).softmax(1)[0, target]
    [gradient] = torch.autograd.grad(probability, image)
    return probability.item(), gradient.numpy()


def regular(mask, area):
    """Area and total variation, and their derivative."""
    down, across = mask[1:] - mask[:-1], mask[:, 1:] - mask[:, :-1]
    value = area * abs(1 - mask).mean() + 20 * ((down**2).mean() + (across**2).mean())
    slope = -area * np.sign(1 - mask) / mask.size
    slope[1:] += 40 * down / down.size
    slope[:-1] -= 40 * down / down.size
    slope[:, 1:] += 40 * across / across.size
    slope[:, :-1] -= 40 * across / across.size
    return value, slope


def sig_cam(network, image, target, references=None, iterations=15, points=20, seed=0, official=False):
    """2.7, from one minus the normalised significance map; derivatives by hand."""
    image = np.asarray(image, np.float64)
    size = image.shape[1:]
    activation, gradient, _ = network.look(image, target)
    significance = np.zeros(activation.shape[1:])
    for channel, slopes in zip(activation, gradient, strict=True):
        significance += ((slopes * channel).mean() * channel).clip(min=0)
    mask = 1 - (significance - significance.min()) / (significance.max() - significance.min())
    _, columns, rows = raised(mask, size)
    if official:
        columns, rows = aligned(mask, size)
    blurred = gaussian(image)
    generator = torch.Generator().manual_seed(seed)
    area, history = 1.0, []

    def picture(mask):
        return image * (columns @ mask @ rows.T) + blurred * (1 - columns @ mask @ rows.T)

    for iteration in range(iterations):
        own, slope = regular(mask, area)
        noises = torch.randn(points, *image.shape, generator=generator).numpy().astype(np.float64)
        for j, noise in enumerate(noises, 1):
            share = j / points
            whole = share * (columns @ mask @ rows.T)
            noise = np.stack([0.4 * noise[0], 0 * noise[1], 0 * noise[2]]) if official else 0.2 * noise
            _, by_image = chance(network, image * whole + blurred * (1 - whole) + noise, target)
            by_raised = (by_image * (image - blurred)).sum(0) * share / points
            slope = slope + columns.T @ by_raised @ rows
        history.append(network.probabilities(picture(mask))[target])
        step = 200.0
        while True:
            trial = (mask - step * slope).clip(0, 1)
            loss = regular(trial, area)[0] + network.probabilities(picture(trial))[target]
            if loss <= own + history[-1] - 1e-4 * step * (slope**2).sum() or step < 1e-5:
                break
            step *= 0.2
        mask = trial
        if iterations > 3:
            moved = abs(history[0] - history[-1])
            if iteration == iterations // 2:
                area = area / 10 if moved <= 0.001 else area
            elif iteration == int(iterations / 1.25):
                area = area / 5 if moved <= 0.01 else area
    mask = columns @ mask @ rows.T
    return Outcome(1 - (mask - mask.min()) / (mask.max() - mask.min()))


METHODS = {"opti-cam": opti_cam, "sig-cam": sig_cam}
# Adam's first step is the sign of the derivative: that of a channel that hardly matters is up to rounding.
OPTIONS = {"opti-cam": {"iterations": 1, "rate": 0.001}, "sig-cam": {"iterations": 1, "points": 2}}
EXACT = {"opti-cam", "sig-cam"}
