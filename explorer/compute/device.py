"""Where the tensors live, and what becomes of their memory."""

import ctypes
import sys

import torch


def best_device() -> torch.device:
    """CUDA or Apple's MPS where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def return_freed_memory() -> None:
    """Gives freed memory back to the system, which glibc would otherwise keep for the next large tensor."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
