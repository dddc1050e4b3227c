"""How a script ends where memory runs out, and where an error only speaks of memory: a traceback is
right for a fault of ours."""

import pytest
import torch
from running import raising

from utils import script
from utils.errors import UserError, is_out_of_memory
from utils.records.run import load_checked

TRULY = [
    MemoryError(),
    MemoryError("Unable to allocate 4.00 TiB for an array"),
    torch.cuda.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 1 has a total capacity of 79.11 GiB"
    ),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 4 bytes."
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you "
        "tried to allocate 4 bytes."
    ),
    RuntimeError("unable to mmap 400 bytes from file <x>: Cannot allocate memory (12)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]
OTHERS = [
    RuntimeError("required rank 4 tensor to use channels_last memory_format"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError(
        "unsupported operation: more than one element of the written-to tensor refers to a "
        "single memory location"
    ),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("out of memory"),
]


@pytest.mark.parametrize("error", TRULY, ids=repr)
def test_where_memory_runs_out_a_script_says_so_in_one_line(error, capsys):
    assert is_out_of_memory(error)
    with pytest.raises(SystemExit) as end:
        script.run(raising(error))
    [line] = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and "out of memory; use a smaller --batch-size or ratio" in line


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_an_error_that_speaks_of_memory_is_not_called_out_of_memory(error, capsys):
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as raised:
        script.run(raising(error))
    assert raised.value is error and not capsys.readouterr().err


def test_what_pytorch_itself_raises_is_recognised():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(error.value)
    with pytest.raises(RuntimeError) as error:
        torch.empty(3, 3).contiguous(memory_format=torch.channels_last)
    assert not is_out_of_memory(error.value)


def test_memory_that_runs_out_over_a_checkpoint_is_not_called_another_network(tmp_path):
    error = torch.cuda.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        load_checked(tmp_path / "x.pt", raising(error), "")
    with pytest.raises(UserError, match="of another network"):
        load_checked(
            tmp_path / "x.pt", raising(RuntimeError("size mismatch for classifier.weight")), ""
        )
