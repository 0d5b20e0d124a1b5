"""Where the tensors live."""

import torch


def best_device() -> torch.device:
    """CUDA or Apple's MPS where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def batch_size(device: torch.device) -> int:
    """Masked pictures per pass: enough to fill the device, few enough for its memory."""
    return 16 if device.type == "cpu" else 64
