"""A network compiled for the machine that it runs on, for work of many passes."""

import torch
from torch import Tensor, fx
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError

from explorer.errors import ExplorerError

_TOLERANCE = 1e-3  # by which a logit may differ, in the largest of the logits


class CompileError(ExplorerError):
    """A network that cannot be compiled on this machine; the sentence says what to do without."""


class Compiled:
    """A traced network, compiled by ``torch.compile`` for full batches and frozen weights. Not differentiable.

    Args:
        example: (1, 3, H, W).

    Raises:
        CompileError: the machine has no compiler, the network cannot be compiled, or then gives other logits.
    """

    def __init__(self, network: fx.GraphModule, example: Tensor, batch: int, name: str) -> None:
        self._batch = batch
        self._network = torch.compile(network, dynamic=False, options={"freezing": True})
        try:
            found = self(example)
        except (InductorError, TorchDynamoException) as error:
            reason = str(error).strip().partition("\n")[0]
            raise CompileError(
                f"{name} cannot be compiled on this machine ({reason[:200]}): install a C++ compiler, or leave "
                "--compile out."
            ) from error
        with torch.no_grad():
            expected = network(example)
        if not (found - expected).abs().max() <= _TOLERANCE * expected.abs().max():  # nor with NaN
            raise CompileError(f"{name} gives other probabilities when it is compiled: leave --compile out.")

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, C) of images (N, 3, H, W)."""
        return torch.cat(
            [self._of(images[at : at + self._batch]) for at in range(0, len(images), self._batch)]
        )

    def _of(self, images: Tensor) -> Tensor:
        """Logits of at most a batch, which is filled up: each size would be compiled again."""
        count = len(images)
        if count < self._batch:
            images = torch.cat([images, images[-1:].expand(self._batch - count, -1, -1, -1)])
        logits: Tensor = self._network(images.contiguous(memory_format=torch.channels_last))
        return logits[:count]
