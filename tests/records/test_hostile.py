"""Files that are torn, flipped, of something else or malicious: read right, or refused with their
name. Never run."""

import copy
import io
import json
import math
import os
import pickle
import random
import resource
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from paper import HEADLINES
from pickles import read_curve
from running import DIGITS, SCRIPTS, assert_refused, call, run, snapshot, succeed
from searches import SEARCH

from model import build_model, prepare_filters, template
from utils.errors import UserError
from utils.figures import comparison, curves
from utils.powerlaw import PowerLaw
from utils.records import files, paths, published, results, searches

MODEL, DATASET = "vgg", "digits"
TRAIN = [*DIGITS, "--epochs", 2]


class Bomb:
    """Pickled, it names a function to call when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture(scope="module")
def stocked(searched, tmp_path_factory):
    """One file of each kind: record, rows, result, weights, unfinished search, unfinished training,
    .pk result."""
    folder = shutil.copytree(searched, tmp_path_factory.mktemp("stocked") / "folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        succeed("train_norm.py", "--save", "base", *TRAIN, "--ratio", 0.08)
        succeed("ratio_swipe.py", "--save", "done_0", "--uniform", "--ratios", 0.0625, *TRAIN)
        keep_checkpoint(patch)
        succeed("architecture_descent.py", "--save", "begun", *SEARCH, "--iterations", 1)
        succeed("train_norm.py", "--save", "begun_base", *TRAIN, "--ratio", 0.08)
        for name in (
            "prune_record/begun.json",
            "saved_plots/vgg/begun_base_8.json",
            "saved_models/vgg/begun_base.pt",
        ):
            Path(name).unlink()
        (folder / "net.py").write_text(
            "from torch import nn\n\n\ndef Net(num_classes):\n    return "
            "nn.Sequential(nn.Conv2d(3, 8, 3))\n"
        )
        (folder / "saved_plots/vgg/vgg_uni_c10_0_25.pk").write_bytes(
            pickle.dumps({"test_acc": [10.0, 88.25, 87.5]})
        )
    shutil.copytree(paths.PUBLISHED_DIR, folder / "published")
    return folder


def keep_checkpoint(patch) -> None:
    """Finished work keeps its checkpoint: as if it had been interrupted before its last epoch."""
    unlink = Path.unlink
    patch.setattr(
        Path, "unlink", lambda path, **more: None if "@" in path.name else unlink(path, **more)
    )


@pytest.fixture
def folder(folder, monkeypatch):
    """The published tables are those in it."""
    monkeypatch.setattr(published, "PUBLISHED_DIR", folder / "published")
    return folder


# --- readers --------------------------------------------------------------------------------------


def read_search(path: Path) -> None:
    record = searches.read_search(str(path.parent), path.stem, MODEL, DATASET)
    for iteration in range(len(record["iterations"])):
        law = searches.law_of(record, iteration)
        assert (
            len(
                prepare_filters(
                    MODEL, 0.25, scaling=law, num_classes=record["num_classes"], image_size=32
                )
            )
            == 8
        )


def read_rows(path: Path) -> None:
    rows = files.read_rows(path, 8)
    assert all(len(row) == 8 and min(row) >= 1 for row in rows)


def read_result(path: Path) -> None:
    result = results.read_result(path)
    assert result["best"] == max(result["test_acc"]) <= 100


def read_scaling(path: Path) -> None:
    for model, dataset in HEADLINES:
        last = published.read_published_scaling(model, dataset)["iterations"][-1]
        assert len(
            prepare_filters(model, 0.25, scaling=PowerLaw(last["alpha"], last["beta"]))
        ) == len(template(model))


def read_morph(path: Path) -> None:
    for model, dataset in HEADLINES:
        assert len(
            prepare_filters(
                model, 0.25, pruned_filters=published.read_published_morph(model, dataset)
            )
        ) == len(template(model))


def read_accuracy(path: Path) -> None:
    for row in published.read_accuracy():
        assert (
            row["ratio"] > 0
            and 0 <= row["best_test_acc"] <= 100
            and 0 <= row["last_test_acc"] <= 100
        )


def read_tensors(path: Path) -> None:
    assert isinstance(files.read_tensors(path), dict)


READERS = {
    "prune_record/found.json": read_search,
    "prune_record/found_0.csv": read_rows,
    "saved_plots/vgg/done_0_6.json": read_result,
    "saved_plots/vgg/vgg_uni_c10_0_25.pk": read_curve,
    "saved_models/vgg/base.pt": read_tensors,
    "saved_models/vgg/begun@search.pt": read_tensors,
    "saved_models/vgg/begun_base@unfinished.pt": read_tensors,
    "published/scaling.json": read_scaling,
    "published/morphnet.json": read_morph,
    "published/accuracy.csv": read_accuracy,
}
each_file = pytest.mark.parametrize("name", READERS)


def places(size: int) -> list[int]:
    """Where to cut or flip: at every 64th byte; in a large file at 40 places, more of them towards
    its ends."""
    if size <= 40 * 64:
        return list(range(0, size, 64))
    sample = random.Random(size)
    return sorted(
        {
            0,
            1,
            64,
            size - 1,
            *(sample.randrange(size) for _ in range(20)),
            *(sample.randrange(2000) for _ in range(8)),
            *(size - 1 - sample.randrange(2000) for _ in range(8)),
        }
    )


def refused(read, path: Path, *, flipped: bool = False) -> bool:
    """Whether the reader refuses the file, by its name. Any other exception fails the test."""
    try:
        read(path)
    except UserError as error:
        # a flipped name is another name
        assert str(path) in str(error) or (flipped and "published for" in str(error))
        return True
    return False


@each_file
def test_an_intact_file_is_read(name, folder):
    assert not refused(READERS[name], folder / name)


@each_file
def test_a_truncated_file_is_refused(name, folder):
    whole = (folder / name).read_bytes()
    cuts = places(len(whole))
    if name.endswith(".csv") or name.endswith(".json"):  # text is quick to read: everywhere
        cuts = range(0, len(whole) - 1, 64)
    read_wrongly = []
    for cut in cuts:
        (folder / name).write_bytes(whole[:cut])
        if not refused(READERS[name], folder / name):
            read_wrongly.append(cut)
    assert not read_wrongly, f"of {len(cuts)} cuts"


@each_file
def test_a_flipped_bit_is_refused_or_leaves_valid_content(name, folder):
    whole, draw = (folder / name).read_bytes(), random.Random(name)
    for place in [*places(len(whole)), *(draw.randrange(len(whole)) for _ in range(60))]:
        torn = bytearray(whole)
        torn[place] ^= 1 << draw.randrange(8)
        (folder / name).write_bytes(torn)
        refused(READERS[name], folder / name, flipped=True)


@each_file
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\0" * 100,
        b"null",
        b"[]",
        b"{}",
        b"3",
        b'"text"',
        b"[" * 100_000,
        b"9" * 10_000,
        b"\xff\xfe\x00",
        b"PK\x03\x04",
        b"PK\x05\x06" + 18 * b"\0",
        b"garbage,1\n2",
    ],
    ids=lambda content: ascii(content[:12]),
)
def test_rubbish_is_refused(name, content, folder):
    (folder / name).write_bytes(content)
    assert refused(READERS[name], folder / name)


@each_file
def test_a_folder_in_the_place_of_a_file_is_refused(name, folder):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert refused(READERS[name], folder / name)


@each_file
def test_a_missing_file_is_refused(name, folder):
    (folder / name).unlink()
    assert refused(READERS[name], folder / name)


# --- records and results with values that no run writes -------------------------------------------

STRANGE = [
    None,
    True,
    -1,
    0,
    0.5,
    1e308,
    10**400,
    "x",
    "NaN",
    [],
    {},
    [None],
    [[1]],
    float("nan"),
    float("inf"),
    -float("inf"),
]


def changed(content, strange=STRANGE):
    """``content`` again and again, each time with one key or list item taken out, or replaced by
    something strange."""

    def spots(part, path=()):
        items = (
            part.items()
            if isinstance(part, dict)
            else enumerate(part[:2])
            if isinstance(part, list)
            else ()
        )
        for key, value in items:
            yield (*path, key)
            yield from spots(value, (*path, key))

    for path in spots(content):
        for value in (spots, *strange):
            copied = copy.deepcopy(content)
            *above, last = path
            part = copied
            for key in above:
                part = part[key]
            if value is spots:
                del part[last]
            else:
                part[last] = value
            yield path, value, copied


def used_search(path: Path) -> None:
    """What scripts do with the record of a search."""
    assert_ends_well(
        call(
            "list_architecture.py",
            "--model",
            MODEL,
            "--dataset",
            DATASET,
            "--prune-fname",
            path.stem,
            "--ratios",
            0.25,
        )
    )


def used_result(path: Path) -> None:
    """What plot_ratio.py does with a result, up to the drawing."""
    subject = curves.Subject(MODEL, DATASET, 10, 32, "saved_plots")
    comparison.print_table([curves.run_curve(subject, "done")], subject)


def used_scaling(path: Path) -> None:
    assert_ends_well(
        call(
            "list_architecture.py",
            "--model",
            "vgg",
            "--dataset",
            "CIFAR10",
            "--prune-fname",
            "published",
            "--ratios",
            0.25,
        )
    )


def used_morph(path: Path) -> None:
    prepare_filters("vgg", 0.25, pruned_filters=published.read_published_morph("vgg", "CIFAR10"))


def assert_ends_well(outcome) -> None:
    if outcome.status:
        assert_refused(outcome)
        raise UserError(outcome.err)
    assert not outcome.err


@pytest.mark.parametrize(
    "name, use, part",
    [
        (
            "prune_record/found.json",
            used_search,
            lambda content: {**content, "iterations": content["iterations"][:1], "settings": {}},
        ),
        (
            "saved_plots/vgg/done_0_6.json",
            used_result,
            lambda content: {**content, "settings": {}, "versions": {}},
        ),
        (
            "published/scaling.json",
            used_scaling,
            lambda content: [{**content[0], "iterations": content[0]["iterations"][:1]}],
        ),
        ("published/morphnet.json", used_morph, lambda content: {"vgg": content["vgg"]}),
    ],
    ids=["record", "result", "scaling", "morphnet"],
)
def test_a_missing_or_strange_value_is_refused_or_does_no_harm(name, use, part, folder):
    path, failures = folder / name, []
    for where, value, content in changed(part(json.loads((folder / name).read_text()))):
        path.write_text(json.dumps(content))
        try:
            use(path)
        except UserError as error:
            if path.name not in str(error) and "published for" not in str(error):
                failures.append((where, value, str(error)))
        except Exception as error:
            failures.append(
                (
                    where,
                    "left out" if callable(value) else value if value != 10**400 else "10**400",
                    repr(error)[:60],
                )
            )
    assert not failures


@pytest.mark.parametrize(
    "alpha", ["NaN", "Infinity", "-Infinity", "1e999", "-1.0", "0", "null", "1" + 400 * "0"]
)
def test_an_alpha_that_is_no_positive_finite_number_is_refused(alpha, folder):
    for name, read in (
        ("prune_record/found.json", read_search),
        ("published/scaling.json", read_scaling),
    ):
        content = json.loads((folder / name).read_text())
        (content if isinstance(content, dict) else content[0])["iterations"][0]["alpha"][1] = (
            "ALPHA"
        )
        (folder / name).write_text(json.dumps(content).replace('"ALPHA"', alpha))
        assert refused(read, folder / name)


def test_rows_of_another_number_of_layers_or_below_one_are_refused(folder):
    path = folder / "prune_record" / "found_0.csv"
    for text in (
        "1,2,3\n",
        "0,1,1,1,1,1,1,1\n",
        "-1,1,1,1,1,1,1,1\n",
        "1,1,1,1,1,1,1,nan\n",
        "1.5,1,1,1,1,1,1,1\n",
        "1,1,1,1,1,1,1,1\n\n",
        "1,1,1,1,1,1,1," + "9" * 5000 + "\n",
        "1,1,1,1,1,1,1,1" + "0" * 400 + "\n",
    ):
        path.write_text(text)
        assert refused(read_rows, path), text
    for width in ("9" * 30, "1" + "0" * 400):  # no network has so many
        path.write_text(f"1,1,1,1,1,1,1,{width}\n")
        assert_refused(
            call("plot_filters.py", "--dataset", DATASET, "--prune-fname", "found"), "found_0.csv"
        )


def test_published_accuracies_and_ratios_that_are_none_are_refused(folder):
    """A comma is a full stop with one bit flipped."""
    path = folder / "published" / "accuracy.csv"
    whole = path.read_text()
    for old, new in (
        (",0.25,0,", ",0,25,0,"),
        (",0.25,0,", ",0,0,"),
        (",0.25,0,", ",-1,0,"),
        (",88.47,", ",847,"),
        (",88.47,", ",-8,"),
        (",88.47,", ",88,47,"),
        (",88.47,", ",nan,"),
        (",0.25,0,", ",65,0,"),
        (",0.25,0,", ",1e300,0,"),
        (",0.25,0,", ",0.25," + "9" * 400 + ","),
        (",0.25,0,", ",0.25,-1,"),
    ):
        assert old in whole
        path.write_text(whole.replace(old, new, 1))
        assert refused(read_accuracy, path), new


def test_a_record_whose_layers_are_not_the_models_is_refused(folder):
    """A record of resnet18 says that it is of vgg."""
    path = folder / "prune_record" / "found.json"
    record = json.loads(path.read_text())
    for entry in record["iterations"]:
        entry.update(filters=[9] * 17, alpha=[1.0] * 17, beta=[0.1] * 17)
    path.write_text(json.dumps(record))
    for script in ("list_architecture.py", "plot_filters.py"):
        assert_refused(call(script, "--dataset", DATASET, "--prune-fname", "found"), "found.json")
    assert_refused(
        call("ratio_swipe.py", *TRAIN, "--save", "x", "--prune-fname", "found"), "found.json"
    )


# --- of something else ----------------------------------------------------------------------------


def test_a_checkpoint_of_another_seed_model_or_script_is_refused_and_kept(folder):
    weights = folder / "saved_models" / "vgg"
    search = ["architecture_descent.py", "--save", "begun", *SEARCH, "--iterations", 1, "--resume"]
    training = ["train_norm.py", "--save", "begun_base", *TRAIN, "--ratio", 0.08, "--resume"]
    before = snapshot(folder)
    assert_refused(call(*search, "--seed", 1), "begun@search.pt")
    assert_refused(call(*training, "--seed", 1), "begun_base@unfinished.pt")
    assert snapshot(folder) == before
    (folder / "saved_models" / "resnet18").mkdir()
    shutil.copy(
        weights / "begun@search.pt", folder / "saved_models" / "resnet18" / "begun@search.pt"
    )
    search_checkpoint = (weights / "begun@search.pt").read_bytes()
    shutil.copy(weights / "begun_base@unfinished.pt", weights / "begun@search.pt")
    (weights / "begun_base@unfinished.pt").write_bytes(search_checkpoint)
    before = snapshot(folder)
    assert_refused(call(*search, "--model", "resnet18", "--ratio", 0.0625), "begun@search.pt")
    assert_refused(call(*search), "begun@search.pt")
    assert_refused(call(*training), "begun_base@unfinished.pt")
    assert snapshot(folder) == before


def test_weights_that_are_no_base_network_are_refused(folder):
    path = folder / "saved_models" / "vgg" / "base.pt"
    good = torch.load(path, weights_only=True)
    tune = ["fine_tune.py", "--save", "tuned", *TRAIN, "--prune-fname", "base", "--ratio", 0.0625]
    first = next(iter(good["network"]))
    other = build_model("resnet18", [4] * 17).state_dict()
    for bad in (
        {},
        {**good, "model": "resnet18"},
        {**good, "dataset": "CIFAR10"},
        {**good, "network": other},
        {**good, "filters": [4] * 8},
        {**good, "filters": [4] * 17},
        {**good, "filters": ["a"] * 8},
        {**good, "filters": None},
        {**good, "network": None},
        {**good, "network": {}},
        {**good, "network": {**good["network"], first: "x"}},
        {**good, "network": {**good["network"], first: torch.zeros(3)}},
        {**good, "network": {**good["network"], 3: 4}},
        {**good, "network": {**good["network"], first: good["network"][first] * math.nan}},
        {**good, "network": {**good["network"], first: good["network"][first] * math.inf}},
        {key: value for key, value in good.items() if key != "filters"},
        {**good, "filters": [10**12] * 8},
    ):
        torch.save(bad, path)
        before = snapshot(folder)
        assert_refused(call(*tune), "base.pt")
        assert snapshot(folder) == before


def test_a_checkpoint_with_flipped_bits_in_its_description_is_refused_or_trains(folder):
    """The pickled part of a checkpoint says what its tensors are; torch reads it without a
    checksum."""
    draw = random.Random(0)
    for name, command in (
        (
            "begun@search.pt",
            ["architecture_descent.py", "--save", "begun", *SEARCH, "--iterations", 1],
        ),
        (
            "begun_base@unfinished.pt",
            ["train_norm.py", "--save", "begun_base", *TRAIN, "--ratio", 0.08],
        ),
    ):
        path = folder / "saved_models" / "vgg" / name
        whole = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            size = next(
                entry.file_size
                for entry in archive.infolist()
                if entry.filename.endswith("data.pkl")
            )
            start_of = whole.index(
                archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
            )
        untouched = snapshot(folder)
        for _ in range(40):
            torn = bytearray(whole)
            torn[start_of + draw.randrange(size)] ^= 1 << draw.randrange(8)
            path.write_bytes(torn)
            outcome = call(*command, "--resume")
            if outcome.status:
                assert_refused(outcome)
                assert path.read_bytes() == torn
            for left in set(snapshot(folder)) - set(untouched):
                (folder / left).unlink()
            for left, content in untouched.items():
                (folder / left).write_bytes(content)


# --- code -----------------------------------------------------------------------------------------


def bombs(target: Path):
    """Objects that create ``target`` when they are unpickled."""
    yield Bomb(os.system, f"touch {target}")
    yield Bomb(eval, f"open({str(target)!r}, 'w').close()")
    yield Bomb(exec, f"open({str(target)!r}, 'w').close()")
    yield Bomb(open, str(target), "w")
    yield Bomb(io.FileIO, str(target), "w")
    yield Bomb(Path.touch, target)
    yield Bomb(np.memmap, str(target), "uint8", "w+", 0, 1)
    yield Bomb(np.save, str(target), [1])


def wrapped(bomb):
    """A bomb alone, and where a reader expects its numbers."""
    return bomb, {"test_acc": bomb}, {"test_acc": [1.0, bomb]}, {"test_acc": [1.0], "more": bomb}


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pk_is_not_run(protocol, folder):
    path, target = folder / "saved_plots" / "vgg" / "vgg_uni_c10_0_25.pk", folder / "created"
    for bomb in bombs(target):
        for content in wrapped(bomb):
            path.write_bytes(pickle.dumps(content, protocol))
            assert refused(read_curve, path)
            assert not any(folder.glob("created*"))


def test_code_in_a_pt_is_not_run(folder):
    path, target = folder / "saved_models" / "vgg" / "base.pt", folder / "created"
    for bomb in bombs(target):
        for content in wrapped(bomb):
            for zipped in (True, False):
                torch.save(content, path, _use_new_zipfile_serialization=zipped)
                assert refused(read_tensors, path)
            path.write_bytes(pickle.dumps(content))
            assert refused(read_tensors, path)
            assert not any(folder.glob("created*"))


class Script(torch.nn.Module):
    def forward(self, images):
        print("this code was run")
        return images


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_torchscript_archive_is_refused_as_what_it_is_before_torch_looks_at_it(
    folder, monkeypatch
):
    """torch.load of versions below 2.6 makes a module of it, whatever weights_only says."""
    path = folder / "saved_models" / "vgg" / "base.pt"
    weights = path.read_bytes()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch has looked at it"))
    torch.jit.save(torch.jit.script(Script()), path)
    archives = [path.read_bytes()]
    for more in (
        "archive/constants.pkl",
        "archive/code/__torch__.py",
        "archive/code/",
        "archive/Constants.PKL",
    ):
        path.write_bytes(weights)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(more, b"")
        archives.append(path.read_bytes())
    for archive in archives:
        path.write_bytes(archive)
        with pytest.raises(UserError, match="TorchScript"):
            files.read_tensors(path)
    assert_refused(
        call("fine_tune.py", "--save", "x", *TRAIN, "--prune-fname", "base", "--ratio", 0.0625),
        "base.pt",
        "TorchScript",
    )


def test_weights_in_a_file_or_of_a_layer_called_code_are_read(tmp_path):
    """torch.save calls what is in an archive by the name of its file."""
    for name in ("code.pt", "constants.pkl.pt"):
        torch.save({"code": torch.ones(1), "code/x": 3}, tmp_path / name)
        assert files.read_tensors(tmp_path / name)["code"] == 1


@pytest.mark.parametrize(
    "text",
    [
        b"cos\nsystem\n(S'touch created'\ntR.",
        b'c__builtin__\neval\n(S\'open("created","w")\'\ntR.',
        b"cbuiltins\nexec\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR.",
        b"c_codecs\nlookup\n(S'x'\ntR.",
        b"cnumpy\nndarray.tofile\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__class__.mro\x93.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0dtouch created\x85R.",
        b"\x80\x02}q\x00U\x08test_accq\x01cos\nsystem\n(S'touch created'\ntRs.",
        b"\x82\x01.",
        b"P1\n.",
    ],
    ids=range(12),
)
def test_a_pk_that_names_anything_but_numbers_is_refused(text, folder):
    path = folder / "saved_plots" / "vgg" / "vgg_uni_c10_0_25.pk"
    path.write_bytes(text)
    assert refused(read_curve, path)
    assert not any(folder.glob("created*"))


def test_a_pk_of_numbers_that_are_not_in_the_file_is_refused(folder):
    """numpy.ndarray((5,)), called, is whatever lies in memory."""
    path = folder / "saved_plots" / "vgg" / "vgg_uni_c10_0_25.pk"
    for count in (5, 90_000, 10**7):
        path.write_bytes(pickle.dumps({"test_acc": Bomb(np.ndarray, (count,), "f8")}, 4))
        assert refused(read_curve, path)


def test_a_small_pk_that_unfolds_into_a_trillion_numbers_is_refused_at_once(folder):
    path = folder / "saved_plots" / "vgg" / "vgg_uni_c10_0_25.pk"
    numbers = [1.0]
    for _ in range(12):
        numbers = [numbers] * 10
    path.write_bytes(pickle.dumps({"test_acc": numbers}, 4))
    child = os.fork()  # which may take 2 seconds and 1 GiB more
    if child == 0:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + 2**30,) * 2)
        try:
            os._exit(0 if refused(read_curve, path) else 1)
        finally:
            os._exit(2)
    deadline = time.monotonic() + 10
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("it is still at it after 10 seconds")
        time.sleep(0.05)


# --- scripts --------------------------------------------------------------------------------------


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def code(path: Path) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    torch.save(
        Bomb(os.system, "touch created"), path
    ) if path.suffix == ".pt" else path.write_bytes(
        pickle.dumps({"test_acc": Bomb(os.system, "touch created")})
    )


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"filters": [4] * 8}, 4))


def other_layers(path: Path) -> None:
    record = json.loads(path.read_text())
    record["dataset"] = "tinyimagenet"
    path.write_text(json.dumps(record))


def torn(path: Path) -> None:
    path.write_text('{"model": ')


CASES = [  # the file, what happens to it, the script that reads it
    (
        "saved_models/vgg/begun@search.pt",
        half,
        ["architecture_descent.py", "--save", "begun", *SEARCH, "--iterations", 1, "--resume"],
    ),
    (
        "saved_models/vgg/begun@search.pt",
        code,
        ["architecture_descent.py", "--save", "begun", *SEARCH, "--iterations", 1, "--resume"],
    ),
    (
        "prune_record/found.json",
        half,
        ["architecture_descent.py", "--save", "found", *SEARCH, "--iterations", 3, "--resume"],
    ),
    ("prune_record/found.json", half, ["imagenet_architecture_descent.py", "--save", "found"]),
    (
        "prune_record/found.json",
        half,
        ["ratio_swipe.py", "--save", "x", "--prune-fname", "found", *TRAIN, "--ratios", 0.0625],
    ),
    (
        "prune_record/morphed_0.csv",
        half,
        [
            "ratio_swipe.py",
            "--save",
            "x",
            "--morph",
            "--prune-fname",
            "morphed",
            *TRAIN,
            "--ratios",
            0.0625,
        ],
    ),
    (
        "saved_plots/vgg/done_0_6.json",
        half,
        ["ratio_swipe.py", "--save", "done_0", "--uniform", "--ratios", 0.0625, *TRAIN],
    ),
    (
        "prune_record/found.json",
        other_layers,
        ["imagenet_ratio_swipe.py", "--save", "x", "--prune-fname", "found"],
    ),
    (
        "saved_models/vgg/begun_base@unfinished.pt",
        half,
        ["train_norm.py", "--save", "begun_base", *TRAIN, "--ratio", 0.08, "--resume"],
    ),
    (
        "saved_models/vgg/begun_base@unfinished.pt",
        code,
        ["train_norm.py", "--save", "begun_base", *TRAIN, "--ratio", 0.08, "--resume"],
    ),
    (
        "saved_models/vgg/base.pt",
        pickled,
        ["fine_tune.py", "--save", "x", *TRAIN, "--prune-fname", "base", "--ratio", 0.0625],
    ),
    *(
        (
            "saved_models/vgg/base.pt",
            damage,
            ["prune.py", "--save", "x", *TRAIN]
            + ["--weights", "saved_models/vgg/base.pt", "--target", "50%"],
        )
        for damage in (code, half, pickled)
    ),
    (
        "saved_models/vgg/base.pt",
        half,
        ["fine_tune.py", "--save", "x", *TRAIN, "--prune-fname", "base", "--ratio", 0.0625],
    ),
    (
        "saved_models/vgg/base.pt",
        code,
        ["fine_tune.py", "--save", "x", *TRAIN, "--prune-fname", "base", "--ratio", 0.0625],
    ),
    (
        "saved_models/vgg/base.pt",
        half,
        ["export.py", "--save", "base", "--dataset", DATASET, "--ratio", 0.08],
    ),
    (
        "saved_models/vgg/base.pt",
        code,
        ["export.py", "--save", "base", "--dataset", DATASET, "--ratio", 0.08],
    ),
    (
        "saved_plots/vgg/base_8.json",
        half,
        ["export.py", "--save", "base", "--dataset", DATASET, "--ratio", 0.08],
    ),
    (
        "prune_record/found.json",
        half,
        ["export.py", "--prune-fname", "found", "--dataset", DATASET, "--ratio", 0.08],
    ),
    (
        "prune_record/found.json",
        half,
        ["list_architecture.py", "--dataset", DATASET, "--prune-fname", "found"],
    ),
    (
        "prune_record/found_0.csv",
        half,
        ["plot_filters.py", "--dataset", DATASET, "--prune-fname", "found"],
    ),
    (
        "saved_plots/vgg/done_0_6.json",
        half,
        ["plot_ratio.py", "--dataset", DATASET, "--runs", "mine=done"],
    ),
    ("saved_plots/vgg/done_0_6.json", half, ["plot_training.py", "--dataset", DATASET, "done"]),
    ("saved_plots/vgg/done_0_6.json", half, ["report.py", "--dataset", DATASET, "--save", "done"]),
    ("saved_plots/vgg/vgg_uni_c10_0_25.pk", half, ["plot_ratio.py", "--dataset", "CIFAR10"]),
    ("saved_plots/vgg/vgg_uni_c10_0_25.pk", code, ["plot_ratio_warmup.py", "--dataset", "CIFAR10"]),
    (
        "saved_plots/vgg/vgg_norm_c10_0_75.pk",
        code,
        ["plot_ratio_finetune.py", "--dataset", "CIFAR10"],
    ),
    ("tiny-imagenet-200/val/val_annotations.txt", half, ["val_format.py"]),
    ("net.py", half, ["check_model.py", "--model", "net.py:Net"]),
    (
        "prune_record/found.json",
        half,
        [
            "submit.py",
            "--dataset",
            "digits",
            "--search",
            "found",
            "--methods",
            "neuralscale",
            "--status",
        ],
    ),
    (
        "saved_plots/vgg/digits_uniform_uniform_0_6.json",
        torn,
        ["study.py", "--study", "digits", "--plot-dir", "saved_plots"],
    ),
]
IDS = [f"{command[0]}-{what.__name__}-{Path(name).name}" for name, what, command in CASES]


@pytest.fixture
def tiny(folder):
    """The beginnings of a TinyImageNet, for val_format.py."""
    images = folder / "tiny-imagenet-200" / "val" / "images"
    images.mkdir(parents=True)
    names = [f"val_{i}.JPEG" for i in range(4)]
    for name in names:
        (images / name).write_bytes(b"image")
    (images.parent / "val_annotations.txt").write_text(
        "".join(f"{name}\tn0{i % 2}\t0\t0\t9\t9\n" for i, name in enumerate(names))
    )


@pytest.mark.parametrize("name, damage, command", CASES, ids=IDS)
def test_a_script_refuses_a_damaged_file_and_writes_nothing(name, damage, command, folder, tiny):
    damage(folder / name)
    before = snapshot(folder)
    assert_refused(call(*command), Path(name).name)
    assert snapshot(folder) == before


ONE_EACH = {command[0]: (name, damage, command) for name, damage, command in reversed(CASES)}


def test_the_cases_are_of_every_script():
    assert sorted(ONE_EACH) == SCRIPTS


@pytest.mark.parametrize("script", ONE_EACH)
def test_a_damaged_file_ends_the_process_with_status_2(script, folder, tiny):
    name, damage, command = ONE_EACH[script]
    damage(folder / name)
    before = snapshot(folder)
    assert_refused(run(*command, cwd=folder), Path(name).name)
    assert snapshot(folder) == before
