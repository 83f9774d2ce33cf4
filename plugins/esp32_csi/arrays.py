"""numpy, with one thread: imported only when the plugin runs, so that a listing of plugins stays light."""

from __future__ import annotations

import os

# A pool of BLAS threads costs 30 MB and the other cores; matrices of 100 x 64 gain nothing by it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

__all__ = ["Array", "Mask", "np"]
