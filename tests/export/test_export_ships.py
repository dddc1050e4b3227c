"""What an export is for: its files are used by somebody who doesn't have this project, on images of
their own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from exports import said, tune
from PIL import Image
from running import ONCE, alone, assert_refused, call, succeed
from torch import nn

from model.graph.user_network import find
from utils.data import evaluation_batches, load_data
from utils.export import export
from utils.records.networks import load_network

OLDER = ("mean", "std", "classes")
WEIGHTS = "saved_models/net.Own/seen_0@25.pt"
SEEN = [
    *["export.py", "--model", "net.py:Own", "--dataset", "pictures"],
    *["--save", "seen_0", "--ratio", 0.25, "--out", "out"],
]
# each with removed filters, at this ratio
ALONE = {"resnet18": 0.09, "mobilenetv2": 0.09}
SIZES = ((40, 56), (24, 24), (90, 70))  # of the pictures: width, height
TRAIN = """
import sys
import torch
from network import Network
network = Network()
before = network.load_state_dict(torch.load("weights.pt", weights_only=True))
images, labels = torch.randn(8, 3, SIZE, SIZE), torch.arange(8) % 2
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
weights = {name: weight.detach().clone() for name, weight in network.named_parameters()}
loss = torch.nn.functional.cross_entropy(network.train()(images), labels)
loss.backward()
optimizer.step()
moved = [name for name, weight in network.named_parameters() if not torch.equal(weight, weights[name])]
assert len(moved) > 0.8 * len(weights) and loss.isfinite(), moved
assert not [name for name in sys.modules if name.split(".")[0] in ("model", "utils")]
fresh = Network().eval()(images)
print(tuple(fresh.shape))
"""
NETWORK = '''
import torch
import torch.nn.functional as F
from torch import nn


class Own(nn.Module):
    """Residual, with dropout as a function."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.more, self.head = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, num_classes)

    def forward(self, x):
        x = F.silu(self.norm(self.stem(x)))
        x = x + F.dropout(torch.relu(self.more(x)), 0.2, self.training)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Doubled(nn.Conv2d):
    """A convolution by its forward pass, but not in what that calls."""

    def _conv_forward(self, *args):
        return 2 * super()._conv_forward(*args)


class Odd(Own):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.more = Doubled(16, 16, 3, padding=1)


class Stopped(Own):
    def forward(self, x):
        with torch.no_grad():
            x = F.silu(self.norm(self.stem(x)))
        return self.head(F.adaptive_avg_pool2d(torch.relu(self.more(x)), 1).flatten(1))
'''


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """Of two models a fine-tuned network; a folder of pictures, a network given by name that was
    trained on them and its export, and one that was trained on digits."""
    folder = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for model, ratio in ALONE.items():
            tune(model, ratio)
        draw(Path("pictures"))
        Path("net.py").write_text(NETWORK)
        own = ["--model", "net.py:Own", "--uniform", "--ratios", 0.25]
        pictures = ["--dataset", "pictures", "--epochs", 2, "--batch-size", 10]
        succeed("ratio_swipe.py", *own, *pictures, "--save", "seen_0")
        succeed("ratio_swipe.py", *own, *ONCE, "--save", "digits_0")
        succeed(*SEEN[:-1], "taken")
    return folder


def draw(place: Path) -> None:
    """Pictures of three classes and three sizes, in three modes of Pillow's."""
    numbers = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 6)):
        for at, name in enumerate(("blue sky", "grass", "sand, dry")):
            (place / part / name).mkdir(parents=True)
            for number in range(count):
                width, height = SIZES[number % 3]
                pixels = numbers.integers(0, 120, (height, width, 3)) + 60 * (
                    np.arange(3) == 2 - at
                )
                image = Image.fromarray(pixels.astype(np.uint8))
                image.convert(["RGB", "P", "RGBA"][number // 2 % 3]).save(
                    place / part / name / f"{number}.png"
                )


def elsewhere(source: str, *arguments, folder: Path, fresh: bool = False) -> str:
    """What Python code prints, in a process that doesn't see this project, its current folder an
    export's; in a new Python if ``fresh``."""
    if not fresh:
        if "\n" in source:
            (folder / "source.py").write_text(source)
            source = "source.py"
        done = alone(source, *arguments, cwd=folder)
        (folder / "source.py").unlink(missing_ok=True)
        assert (done.status, done.err) == (0, "")
        return done.out
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *(["-c", source] if "\n" in source else [source]), *map(str, arguments)],
        cwd=folder,
        env={**clean, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def exported(tmp_path, *options) -> Path:
    """An export, at a place that nothing of the project lies beside."""
    succeed("export.py", *options, "--out", "out", "--overwrite")
    return shutil.copytree("out", tmp_path / "taken" / "away")


def taken(tmp_path) -> Path:
    """The export that all tests begin with, at a place that nothing of the project lies beside."""
    return shutil.copytree("taken", tmp_path / "taken" / "away")


def probabilities(network: nn.Module, data) -> torch.Tensor:
    """Of each test image, as they are evaluated here."""
    with torch.no_grad():
        return torch.cat(
            [network(images).softmax(1) for images, _ in evaluation_batches(data, 7).epoch()]
        )


# --- alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ALONE)
def test_pruned_networks_train_and_classify_where_there_is_no_project(model, folder, tmp_path):
    out = exported(
        tmp_path,
        "--model",
        model,
        "--dataset",
        "digits",
        "--save",
        "tuned_0",
        "--ratio",
        ALONE[model],
    )
    fresh = model == "resnet18"
    assert elsewhere(TRAIN.replace("SIZE", "32"), folder=out, fresh=fresh) == "(8, 10)\n"
    about, source = said(out), (out / "network.py").read_text()
    assert (
        about["classes"] == list("0123456789")
        and about["training_differs"] == ""
        and about["not_written"] == {}
    )
    assert "fx" not in source and "Selection" not in source and source.count("\nclass ") <= 5
    readme = (out / "README.md").read_text()
    assert len(readme.splitlines()) == 10 and "your own class" not in readme

    # The image of a digit, in its own 8 x 8 pixels and in those that networks see.
    from sklearn.datasets import load_digits

    digits = load_digits().images[-50:]
    of_all = probabilities(
        load_network(f"saved_models/{model}/tuned_0@9.pt"), load_data("digits", limit_train=100)
    )[-50:]
    for number, factor in ((0, 1), (3, 4)):
        pixels = (
            np.round(digits[number] * 255 / 16).astype(np.uint8).repeat(factor, 0).repeat(factor, 1)
        )
        Image.fromarray(pixels).save(out / "digit.png")
        said_of_it = elsewhere("example.py", "digit.png", folder=out, fresh=fresh and not number)
        name, percent, _ = said_of_it.split()
        assert int(name) == int(of_all[number].argmax()) and float(percent) == pytest.approx(
            100 * float(of_all[number].max()), abs=0.06
        )


@pytest.mark.parametrize("inside", [False, True], ids=["normalised outside", "normalised inside"])
def test_pictures_of_ones_own_in_three_sizes(inside, folder, tmp_path_factory):
    away = tmp_path_factory.mktemp("elsewhere")
    out = exported(away, *SEEN[1:-2], "--preprocessing") if inside else taken(away)
    about, data = said(out), load_data("pictures")
    assert about["classes"] == ["blue sky", "grass", "sand, dry"] == list(data.classes)
    for key in ("mean", "std"):
        assert torch.equal(
            255 * torch.tensor(about[key], dtype=torch.float64).float(), getattr(data, key)
        ) or np.allclose(about[key], getattr(data, key).double().numpy() / 255, rtol=1e-9)
    assert about["onnx_input"]["type"] == ("uint8" if inside else "float32")
    assert (
        about["image_size"] == 32
        and about["input"]["resize"] == "bicubic"
        and about["accuracy"] == about["last"]
    )

    expected = probabilities(load_network(WEIGHTS, "net.py:Own"), data)
    pictures = sorted(
        Path("pictures/test").rglob("*.png"), key=lambda path: (path.parent.name, path.name)
    )
    for number in (0, 3, 7, 10, 14, 17):
        name, percent, _ = elsewhere("example.py", pictures[number].resolve(), folder=out).rsplit(
            " ", 2
        )
        assert name == about["classes"][int(expected[number].argmax())]
        assert float(percent) == pytest.approx(100 * float(expected[number].max()), abs=0.06)
    if not inside:
        assert elsewhere(TRAIN.replace("SIZE", "32"), folder=out) == "(8, 3)\n"
    readme = (out / "README.md").read_text()
    assert (
        len(readme.splitlines()) == 10
        and "`weights.pt` fits it" in readme
        and "your own class" in readme
    )


def test_what_takes_pixels_classifies_every_digit_as_the_evaluation_does(folder, tmp_path):
    """In onnxruntime, of whatever number of images, class by class."""
    out = exported(
        tmp_path,
        *["--model", "net.py:Own", "--dataset", "digits"],
        *["--save", "digits_0", "--ratio", 0.25, "--preprocessing"],
    )
    data = load_data("digits", limit_train=100)
    session = onnxruntime.InferenceSession(out / "network.onnx", providers=["CPUExecutionProvider"])
    logits = np.concatenate(
        [
            session.run(["logits"], {"images": part})[0]
            for part in np.split(data.test.images.numpy(), [1, 100, 101])
        ]
    )
    found, expected = (
        torch.from_numpy(logits).softmax(1),
        probabilities(load_network("saved_models/net.Own/digits_0@25.pt", "net.py:Own"), data),
    )
    assert len(found) == 360 and (found - expected).abs().max() < 1e-5
    right = [
        (found.argmax(1) == data.test.labels)[data.test.labels == digit].sum()
        for digit in range(10)
    ]
    assert right == [
        (expected.argmax(1) == data.test.labels)[data.test.labels == digit].sum()
        for digit in range(10)
    ]
    assert [node.name for node in session.get_inputs()] == ["images"] and session.get_inputs()[
        0
    ].shape == ["batch", 32, 32, 3]


def test_an_example_says_in_a_line_what_it_cant_read(folder, tmp_path_factory):
    out = taken(tmp_path_factory.mktemp("elsewhere"))
    for arguments in (["README.md"], ["none.png"], [], ["a", "b"]):
        done = alone("example.py", *arguments, cwd=out)
        assert done.status == 1 and len(done.err.splitlines()) == 1 and "Traceback" not in done.err


# --- what is not known, and what can't be written -------------------------------------------------


def without(path: str, *keys) -> None:
    content = torch.load(path, weights_only=True)
    assert set(keys) <= content.keys()
    torch.save({key: value for key, value in content.items() if key not in keys}, path)


def test_weights_of_an_earlier_version_are_exported_with_what_is_known(folder):
    without(WEIGHTS, *OLDER)
    data = load_data("pictures")

    # The images are where they were: what training found is found again.
    succeed(*SEEN)
    about = said(Path("out"))
    assert about["classes"] == list(data.classes) and np.allclose(
        about["mean"], data.mean.double().numpy() / 255, rtol=1e-9
    )

    # They are somewhere else: nothing is known, and that is said, in a file too.
    Path("pictures").rename("moved")
    out = succeed(*SEEN, "--overwrite")
    about = said(Path("out"))
    assert "mean, std, classes: not known" in out and [about[key] for key in OLDER] == [
        None,
        None,
        None,
    ]
    picture = Path("moved/test/grass/0.png").resolve()
    done = alone("example.py", picture, cwd="out")
    assert done.status == 1 and "put them into architecture.json" in done.err
    (Path("out") / "architecture.json").write_text(
        json.dumps({**about, "mean": [0.5] * 3, "std": [0.25] * 3})
    )
    assert elsewhere("example.py", picture, folder=Path("out")).startswith("class ")
    assert_refused(
        call(*SEEN, "--overwrite", "--preprocessing"),
        "--preprocessing",
        "--dataset",
    )

    # Others than those it was trained on are not taken for them.
    (Path("moved/train/grass/0.png")).unlink()
    Path("moved").rename("pictures")
    assert "not known" in succeed(*SEEN, "--overwrite")


@pytest.mark.parametrize(
    "strange",
    [None, "x", [1.0], [2.0] * 3, [0.0] * 3, {"a": 1}, ["a", "b", 3]],
    ids=lambda value: ascii(value)[:20],
)
def test_weights_that_say_strange_things_of_their_images_are_one_line(strange, folder):
    path = Path(WEIGHTS)
    whole = torch.load(path, weights_only=True)
    for key in OLDER:
        if (key, strange) != ("mean", [0.0] * 3):  # of black images
            torch.save({**whole, key: strange}, path)
            assert_refused(call(*SEEN), f"{path}: damaged", key)
    assert not Path("out").exists()


def test_what_cant_be_written_is_named_and_the_rest_is_exported(folder):
    out = succeed(
        "export.py",
        "--model",
        "net.py:Odd",
        "--dataset",
        "digits",
        "--uniform",
        "--ratio",
        0.25,
        "--out",
        "out",
    )
    about, readme = said(Path("out")), (Path("out") / "README.md").read_text()
    for text in (out, about["not_written"]["network.py"], readme):
        assert "Doubled (more)" in text
    assert {path.name for path in Path("out").iterdir()} == {
        "README.md",
        "architecture.json",
        "example.py",
        "network.onnx",
        "network.pt2",
        "weights.pt",
    }
    assert (
        "There is no `network.py`" in readme
        and len(readme.splitlines()) == 10
        and len(about["differences"]) == 3
    )


def test_a_network_that_trains_otherwise_than_its_source_is_told(folder, monkeypatch):
    """Its graph doesn't say that nothing is to be learnt before a certain layer."""
    network = find("net.py", "Stopped")(num_classes=10)
    monkeypatch.setattr(export, "build_model", lambda *_, **__: network)
    out = succeed(
        "export.py",
        "--model",
        "net.py:Stopped",
        "--dataset",
        "digits",
        "--uniform",
        "--ratio",
        1,
        "--out",
        "out",
    )
    told = said(Path("out"))["training_differs"]
    assert (
        "stem.weight gets another gradient" in told
        and told in out
        and told in (Path("out") / "README.md").read_text()
    )
