"""Maps as NumPy files."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray


def npy(values: NDArray[np.float32]) -> bytes:
    """An array as a ``.npy`` file; equal arrays give equal bytes."""
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()
