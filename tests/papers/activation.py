"""Methods that look at the activation alone, and controls that look at nothing (methods.md, 2.13 and 2.15)."""

import numpy as np
import torch

from papers.network import Outcome, normalised, upsampled


def eigen_cam(network, image, target, references=None, centred=False):
    """2.13: the projection on the first right singular vector, its larger end up."""
    activation = network.activation(image)
    matrix = activation.reshape(len(activation), -1).T
    if centred:
        matrix = matrix - matrix.mean(0)
    _, _, right = np.linalg.svd(matrix, full_matrices=False)
    projection = matrix @ right[0]
    if abs(projection.min()) > abs(projection.max()):
        projection = -projection
    positive = projection.reshape(activation.shape[1:]).clip(min=0)
    return Outcome(normalised(upsampled(positive, image.shape[1:])))


def fake_cam(network, image, target, references=None):
    """2.15: 1 everywhere, the top left pixel 0."""
    saliency = np.ones(image.shape[1:])
    saliency[0, 0] = 0
    return Outcome(saliency)


def constant(network, image, target, references=None):
    return Outcome(np.ones(image.shape[1:]))


def random(network, image, target, references=None, seed=0):
    """Uniform float32 values of torch's generator, one for each cell."""
    values = torch.rand(network.activation(image).shape[1:], generator=torch.Generator().manual_seed(seed))
    return Outcome(normalised(upsampled(values.double().numpy(), image.shape[1:])))


def centre_gaussian(network, image, target, references=None, width=0.25):
    height, breadth = image.shape[1:]
    saliency = np.zeros((height, breadth))
    for i in range(height):
        for j in range(breadth):
            y, x = (i + 0.5) / height - 0.5, (j + 0.5) / breadth - 0.5
            saliency[i, j] = np.exp(-(x * x + y * y) / (2 * width**2))
    return Outcome(normalised(saliency))


METHODS = {
    "eigen-cam": eigen_cam,
    "fake-cam": fake_cam,
    "constant": constant,
    "random": random,
    "centre-gaussian": centre_gaussian,
}
