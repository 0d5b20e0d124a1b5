"""FullGrad (methods.md, 2.14)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from papers.network import Outcome, normalised, upsampled


def parts(network, image, target):
    """Input times gradient, and bias times gradient of each layer with one; by hooks on every layer."""
    seen = []
    handles = []
    for module in network.model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
        if isinstance(module, nn.BatchNorm2d):
            scale = module.weight / (module.running_var + module.eps).sqrt()
            bias = module.bias - module.running_mean * scale
            before_activation = module.drop if hasattr(module, "drop") else module
            handles.append(watch(before_activation, bias, seen))
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            handles.append(watch(module, module.bias, seen))
    image = torch.as_tensor(image, dtype=torch.float64).requires_grad_()
    logit = network.model(image[None])[0, target]
    for handle in handles:
        handle.remove()
    slopes = torch.autograd.grad(logit, [image, *(output for output, _, _ in seen)])
    found = [(image * slopes[0]).detach().numpy()[None]]
    for (_, bias, last), slope in zip(seen, slopes[1:], strict=True):
        axis = -1 if last else 1
        shape = [1] * slope.dim()
        shape[axis] = len(bias)
        part = (bias.detach().view(shape) * slope).numpy()
        found.append(np.moveaxis(part, -1, 1) if last and part.ndim == 4 else part)
    return found, logit.item()


def watch(module, bias, seen):
    def keep(module, inputs, output):
        seen.append((output, bias, isinstance(module, nn.Linear)))

    return module.register_forward_hook(keep)


def fullgrad(network, image, target, references=None, official=False):
    """psi(x g_x) + sum_l psi(b_l g_l), psi: absolute value, range over all channels, up-sampling, sum."""
    size = image.shape[1:]
    total = np.zeros(size)
    for part in parts(network, image, target)[0]:
        if part.ndim == 4:
            part = abs(part[0])
            part = part - part.min()
            below = part.max() + 1e-6 if official else part.max() or 1
            for channel in part / below:
                total += corners_aligned(channel, size) if official else upsampled(channel, size)
    return Outcome(normalised(total))


def corners_aligned(values, size):
    return F.interpolate(torch.tensor(values)[None, None], tuple(size), mode="bilinear", align_corners=True)[
        0, 0
    ].numpy()


METHODS = {"fullgrad": fullgrad}
UNDEFINED = {"fullgrad": {"vit_16"}}
EXACT = {"fullgrad"}
