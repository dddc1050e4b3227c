"""Weights that users bring: files of many origins that are read, and of many kinds that are refused in
a line."""

import io
import json
import struct
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model import build_model
from utils.errors import UserError
from utils.records.given_weights import fit, read_weights


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


STATE = network().state_dict()


def taken(path) -> dict[str, torch.Tensor]:
    return fit(STATE, read_weights(path), path)


def same(found) -> bool:
    return found.keys() == STATE.keys() and all(
        torch.equal(found[name], tensor) for name, tensor in STATE.items()
    )


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3, "optimizer": {"state": {}, "lr": 0.1}},
        {"model": STATE},
        {"network": STATE, "arch": "mine"},
        {"ema": STATE, "epoch": 1},
        {"epoch": 3, "model": {"state_dict": STATE}},
        {f"module.{name}": tensor for name, tensor in STATE.items()},
        {f"_orig_mod.{name}": tensor for name, tensor in STATE.items()},
        {"state_dict": {f"module._orig_mod.{name}": tensor for name, tensor in STATE.items()}},
        {name: tensor for name, tensor in STATE.items() if "num_batches" not in name},
        {name.replace("0.w", "0._orig_mod.w"): tensor for name, tensor in STATE.items()},
        {name: nn.Parameter(tensor) if tensor.dim() else tensor for name, tensor in STATE.items()},
        {name: tensor.double() if tensor.dim() else tensor for name, tensor in STATE.items()},
        {"state_dict": STATE, "0._extra_state": b"of a module"},
    ],
)
def test_a_state_dict_is_found_wherever_checkpoints_keep_it(content, tmp_path):
    torch.save(content, path := tmp_path / "mine.pt")
    assert same(taken(path))


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.pt"])
def test_safetensors_are_known_by_their_content(name, tmp_path):
    save_file(STATE, tmp_path / name)
    assert same(taken(tmp_path / name))


def test_the_format_before_pytorch_1_6_is_read(tmp_path):
    torch.save(STATE, path := tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(taken(path))


def test_a_name_that_begins_like_a_prefix_is_the_networks_own(tmp_path):
    """A network whose only part is called module, saved from DataParallel."""
    wanted = {"module.weight": torch.ones(2)}
    torch.save({"module.module.weight": torch.zeros(2)}, path := tmp_path / "mine.pt")
    assert not fit(wanted, read_weights(path), path)["module.weight"].any()
    torch.save(wanted, path)
    assert fit(wanted, read_weights(path), path)["module.weight"].all()


# --- what is refused ------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


def stored(content, **more) -> bytes:
    torch.save(content, stream := io.BytesIO(), **more)
    return stream.getvalue()


def without(*names: str) -> dict:
    return {name: tensor for name, tensor in STATE.items() if name not in names}


def scripted() -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is old by now
        torch.jit.save(torch.jit.script(network()), stream := io.BytesIO())
    return stream.getvalue()


def cyclic() -> dict:
    content: dict = {"epoch": 1, "note": "x"}
    content["model"] = content
    return content


def with_a_wrong_checksum() -> bytes:
    whole = stored(STATE)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        place = next(entry for entry in archive.infolist() if entry.filename.endswith("data/0"))
    at = whole.index(STATE["0.weight"].numpy().tobytes()[:16])
    assert place.file_size
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


def safetensors(header: dict, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


REFUSED = {
    "nothing": (b"", "damaged"),
    "text": (b"these are no weights\n", "damaged"),
    "half of it": (stored(STATE)[:700], "damaged"),
    "a changed byte": (with_a_wrong_checksum(), "damaged"),
    "an archive of other things": (b"PK\x05\x06" + bytes(18), "damaged"),
    "a whole network": (stored(network()), "could run code"),
    "code": (stored({"state_dict": STATE, "x": Evil()}), "could run code"),
    "code in the old format": (
        stored([Evil()], _use_new_zipfile_serialization=False),
        "could run code",
    ),
    "TorchScript": (scripted(), "TorchScript"),
    "a list": (stored(list(STATE.values())), "holds list"),
    "a tensor": (stored(torch.ones(3)), "holds Tensor"),
    "an empty dictionary": (stored({}), "a dictionary of nothing"),
    "numbers": (stored({"epoch": 3, "best": 0.5}), "'epoch', 'best'"),
    "an optimizer": (stored({"state": {}, "param_groups": []}), "'state', 'param_groups'"),
    "a dictionary in itself": (stored(cyclic()), "no state_dict"),
    "keys that are numbers": (stored(dict(enumerate(STATE.values()))), "no state_dict"),
    "a missing name": (stored(without("0.bias")), "missing: 0.bias"),
    "another name": (
        stored({**without("0.bias"), "0.offset": STATE["0.bias"]}),
        "missing: 0.bias; superfluous: 0.offset",
    ),
    "a superfluous name": (stored({**STATE, "9.weight": torch.ones(2)}), "superfluous: 9.weight"),
    "another shape": (
        stored({**STATE, "3.weight": torch.ones(10, 16)}),
        "3.weight (10x16, not 2x16)",
    ),
    "another network": (stored({f"layer{i}": torch.ones(1) for i in range(9)}), "and 5 more"),
    "not a number": (
        stored({**STATE, "0.bias": torch.tensor([0, 1, float("nan"), 2])}),
        "not finite: 0.bias",
    ),
    "too large for its kind": (
        stored({**STATE, "0.bias": torch.full((4,), 1e300, dtype=torch.float64)}),
        "not finite: 0.bias",
    ),
    "whole numbers": (
        stored({**STATE, "0.bias": torch.ones(4, dtype=torch.int8)}),
        "0.bias (int8)",
    ),
    "complex numbers": (
        stored({**STATE, "0.bias": torch.ones(4, dtype=torch.complex64)}),
        "0.bias (complex64)",
    ),
    "sparse": (stored({**STATE, "0.bias": torch.ones(4).to_sparse()}), "0.bias (sparse)"),
    "shapes alone": (stored({**STATE, "0.bias": torch.ones(4, device="meta")}), "0.bias"),
    "safetensors that end early": (
        safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"1234"),
        "not safetensors",
    ),
    "safetensors of an unknown kind": (
        safetensors({"a": {"dtype": "Q9", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        "not safetensors",
    ),
    "a header without an end": (struct.pack("<Q", 2**60) + b"{", "not safetensors"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_files_are_refused_in_a_line(kind, tmp_path, capsys):
    content, said = REFUSED[kind]
    (path := tmp_path / "mine.pt").write_bytes(content)
    with pytest.raises(UserError) as refused:
        taken(path)
    line = str(refused.value)
    assert line.startswith(f"{path}: ") and said in line and len(line.splitlines()) == 1
    assert len(line) < len(str(path)) + 300
    assert "code was run" not in capsys.readouterr().out


def test_what_is_no_file_is_refused(tmp_path):
    for path, said in ((tmp_path, "is no file"), (tmp_path / "none.pt", "there is no such file")):
        with pytest.raises(UserError, match=said):
            read_weights(path)


def test_half_precision_is_taken_as_numbers_of_the_network(tmp_path):
    """As many checkpoints are stored; bfloat16 too, which numpy does not know."""
    vgg = build_model("vgg", [4] * 8)
    halves = {
        name: tensor.bfloat16() if tensor.dim() else tensor
        for name, tensor in vgg.state_dict().items()
    }
    torch.save(halves, path := tmp_path / "mine.pt")
    found = fit(vgg.state_dict(), read_weights(path), path)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32, torch.int64}
