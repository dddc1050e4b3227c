"""What older versions of PyTorch, which are allowed, can't do."""

import pytest
import torch

OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 8)
SIZES_ARE_TRACED = pytest.mark.skipif(
    OLD, reason="torch.fx of PyTorch 2.7 can't trace sizes as arguments, which is said in a line"
)
