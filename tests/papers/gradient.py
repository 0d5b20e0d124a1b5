"""Methods that weight channels by gradients (methods.md, 2)."""

from papers.network import Outcome, normalised, upsampled, weighted_sum


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


METHODS = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
}
