"""What counts as an image of a folder, where a data set's name finds one, and what size its images
have, for every script alike."""

import json
import shutil
from pathlib import Path

import pytest
from image_folders import write_image, write_images
from running import assert_refused, call, succeed
from torchvision.datasets import ImageFolder

from model.graph.user_network import imported
from utils.data import load_data, shape_of
from utils.data.listing import list_images, list_parts
from utils.errors import UserError
from utils.records.networks import load_network
from utils.records.paths import image_folder, is_hidden
from utils.study.plan import study

HIDDEN_FOLDERS = [
    ".ipynb_checkpoints",
    ".git",
    "__MACOSX",
    "@eaDir",
    "lost+found",
    "$RECYCLE.BIN",
    ".hidden class",
]
HIDDEN_FILES = ["._x.jpg", ".x.png", "Thumbs.db", "desktop.ini", ".DS_Store"]


@pytest.fixture
def pets(tmp_path, monkeypatch) -> Path:
    """Three classes of images of 60 pixels, which are brought to 64 where nobody asks for another
    size."""
    monkeypatch.chdir(tmp_path)
    return write_images(tmp_path / "pets", size=60)


# --- what counts ----------------------------------------------------------------------------------


def test_images_are_listed_in_the_order_of_torchvision(pets):
    for name in (
        "a/1.JPG",
        "a-b/1.jpeg",
        "a/b/0.Png",
        "B/1.webp",
        "a.png",
        "10.png",
        "9.bmp",
        "notes.txt",
    ):
        write_image(pets / "train" / "cat" / name)
    (pets / "train" / "no class.png").write_bytes(b"")
    ours, theirs = list_images(pets / "train"), ImageFolder(str(pets / "train"))
    assert ours.classes == theirs.classes and list(zip(ours.paths, ours.labels)) == theirs.samples


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("name", HIDDEN_FOLDERS)
def test_a_hidden_folder_is_no_class_and_its_images_are_none(name, part, pets):
    before = [listing.paths for listing in list_parts(pets)]
    for place in (
        pets / part / name,
        pets / part / "cat" / name,
        pets / part / "cat" / "deeper" / name,
    ):
        write_image(place / "1.png")
    assert [listing.paths for listing in list_parts(pets)] == before
    assert load_data(str(pets)).num_classes == 3 and shape_of(str(pets)) == {
        "num_classes": 3,
        "image_size": 64,
    }


@pytest.mark.parametrize("name", HIDDEN_FILES)
def test_a_hidden_file_is_no_image(name, pets):
    before = [listing.paths for listing in list_parts(pets)]
    for part in ("train", "test"):
        (pets / part / "cat" / name).write_bytes(b"no image")
        (pets / part / name).write_bytes(b"no image")
    assert [listing.paths for listing in list_parts(pets)] == before
    load_data(str(pets))


def test_names_that_only_look_hidden_are_classes(pets):
    names = ["cat.", "_", "a.b", "macosx", "Thumbs"]
    assert not any(map(is_hidden, names))
    for part in ("train", "test"):
        for name in names:
            write_image(pets / part / name / "1.png")
    assert list_parts(pets)[0].classes == sorted(["cat", "dog", "owl", *names])


def test_a_class_with_nothing_but_hidden_images_is_named(pets):
    for part in ("train", "test"):
        write_image(pets / part / "eel" / ".ipynb_checkpoints" / "1.png")
    with pytest.raises(UserError, match=r"no images in eel; images end with \.jpg"):
        list_parts(pets)


def test_a_link_that_leads_back_is_not_followed_and_others_are(pets):
    before = len(list_images(pets / "train").paths)
    (pets / "train" / "cat" / "back").symlink_to(pets / "train" / "cat")
    (pets / "train" / "dog" / "up").symlink_to("..")
    assert len(list_images(pets / "train").paths) == before
    write_image(pets / "elsewhere" / "1.png")
    (pets / "train" / "owl" / "more").symlink_to(pets / "elsewhere")
    (pets / "elsewhere" / "again").symlink_to(pets / "train" / "owl")
    assert len(list_images(pets / "train").paths) == before + 1


# --- what --data means ----------------------------------------------------------------------------

SMALL = ["--batch-size", 4, "--epochs", 1]
SWEEP = ["ratio_swipe.py", "--uniform", "--ratios", 0.0625, *SMALL]


@pytest.fixture
def cifar(tmp_path, monkeypatch) -> Path:
    """A folder ``images``, in which CIFAR10 lies as a folder of images."""
    monkeypatch.chdir(tmp_path)
    write_images(
        tmp_path / "images" / "CIFAR10", [f"class {i}" for i in range(10)], train=1, test=1
    )
    return tmp_path / "images"


def test_a_data_sets_name_finds_its_folder_below_data_and_gives_the_results_of_its_path(cifar):
    by_name, by_path = load_data("CIFAR10", "images"), load_data("images/CIFAR10", "nowhere")
    assert by_name.name == by_path.name == "CIFAR10" and by_name.settings == by_path.settings
    assert by_name.mean.tolist() == by_path.mean.tolist() == pytest.approx([125.3, 123.0, 113.9])
    assert by_name.train.images.equal(by_path.train.images)
    succeed(*SWEEP, "--save", "a_0", "--data", "images", "--dataset", "CIFAR10")
    assert "finished before" in succeed(*SWEEP, "--save", "a_0", "--dataset", "images/CIFAR10")


def test_the_archive_comes_before_the_folder_and_another_folder_is_none(cifar):
    assert image_folder("CIFAR10", "images") == Path("images/CIFAR10")
    (cifar / "cifar-10-batches-py").mkdir()
    assert image_folder("CIFAR10", "images") is None
    (cifar / "cifar-10-batches-py").rename(cifar / "else")
    (cifar / "cifar-10-python.tar.gz").touch()
    assert image_folder("CIFAR10", "images") is None
    for dataset in ("CIFAR100", "digits", "cats"):
        (cifar / dataset / "other").mkdir(parents=True)
        assert image_folder(dataset, "images") is None
    write_images(cifar / "digits")
    assert (
        image_folder("digits", "images") is None and load_data("digits", "images").num_classes == 10
    )


def test_a_folder_that_lacks_a_part_is_named_and_nothing_is_downloaded(cifar):
    shutil.rmtree(cifar / "CIFAR10" / "test")
    with pytest.raises(UserError, match="images/CIFAR10/test: there is no such folder"):
        load_data("CIFAR10", "images")


def test_tinyimagenet_is_found_by_its_name_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images" / "tinyimagenet", size=64)
    assert load_data("tinyimagenet", "images").image_size == 64
    write_images(tmp_path / "images" / "tiny-imagenet-200", ["a"], size=64)
    # before val_format.py an archive has no test images
    assert load_data("tinyimagenet", "images").num_classes == 3
    (tmp_path / "images" / "tiny-imagenet-200" / "val").mkdir()
    assert load_data("tinyimagenet", "images").num_classes == 1


def test_the_study_takes_the_same_folder(cifar):
    there, *_ = study("full", "images")
    assert {entry.experiment.dataset for entry in there.entries} == {
        str(image_folder("CIFAR10", "images"))
    }


# --- what size images have ------------------------------------------------------------------------

SEARCH = [
    "architecture_descent.py",
    "--save",
    "found",
    "--warmup",
    0,
    "--ratio",
    0.0625,
    "--iterations",
    1,
    "--prune-every",
    1,
    "--epochs",
    2,
    "--batch-size",
    6,
]
OF_IT = ["--prune-fname", "found"]


def result_of(name: str) -> dict:
    [path] = Path("saved_plots/vgg").glob(f"{name}_6.json")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def stocked(tmp_path_factory) -> Path:
    """The folder ``pets``, whose own size is 64, and a search of it at 32."""
    where = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        write_images(where / "pets", size=60)
        succeed(*SEARCH, "--dataset", "pets", "--image-size", 32)
    return where


def test_a_sweep_is_of_the_size_of_its_search(folder):
    sweep = ["ratio_swipe.py", *OF_IT, "--ratios", 0.0625, *SMALL, "--dataset", "pets"]
    out = succeed(*sweep, "--save", "a_0")
    assert " image_size=32 " in out and "while those of the search" not in out
    assert (
        result_of("a_0")["image_size"] == 32 and result_of("a_0")["settings"]["image_size"] is None
    )
    assert "finished before" in succeed(*sweep, "--save", "a_0")
    assert "finished before" in succeed(*sweep, "--save", "a_0", "--image-size", 32)


def test_a_sweep_at_another_size_says_so(folder):
    out = succeed(
        "ratio_swipe.py",
        *OF_IT,
        "--ratios",
        0.0625,
        *SMALL,
        "--dataset",
        "pets",
        "--save",
        "b_0",
        "--image-size",
        64,
    )
    [line] = [
        line for line in out.splitlines() if "while those of the search found were of 32" in line
    ]
    assert line.startswith("images of 64 pixels") and result_of("b_0")["image_size"] == 64


def test_a_search_at_another_size_than_that_of_an_archive_is_said_so(folder):
    """The search was of a folder that is called as a data set is, brought to another size; the data
    set itself has one size."""
    shutil.copytree("pets", "digits")
    succeed(*SEARCH, "--save", "other", "--dataset", "./digits", "--image-size", 64)
    shutil.rmtree("digits")
    out = succeed(
        "ratio_swipe.py",
        "--prune-fname",
        "other",
        "--ratios",
        0.0625,
        "--epochs",
        1,
        "--batch-size",
        50,
        "--limit-train",
        50,
        "--limit-test",
        10,
        "--dataset",
        "digits",
        "--save",
        "c_0",
    )
    assert "images of 32 pixels, while those of the search other were of 64" in out


def test_widths_are_listed_for_the_size_of_the_search_or_for_another_that_is_said(folder):
    listing = ["list_architecture.py", *OF_IT, "--dataset", "pets", "--ratios", 0.25]
    assert json.loads(call(*listing, "--json").out)["image_size"] == 32
    assert "while those" not in succeed(*listing)
    assert "images of 64 pixels, while those of the search found were of 32" in succeed(
        *listing, "--image-size", 64
    )
    outcome = call(*listing, "--image-size", 64, "--json")
    listed = json.loads(outcome.out)
    assert outcome.status == 0 and listed["image_size"] == 64 and "were of 32" in outcome.err
    assert (
        listed["architectures"][0]["macs"]
        > 3 * json.loads(call(*listing, "--json").out)["architectures"][0]["macs"]
    )


def test_a_base_network_is_pruned_at_its_own_size(folder):
    succeed(
        "train_norm.py",
        "--dataset",
        "pets",
        "--save",
        "base",
        "--ratio",
        0.125,
        "--image-size",
        32,
        *SMALL,
    )
    tune = [
        "fine_tune.py",
        "--dataset",
        "pets",
        "--save",
        "t_0",
        "--prune-fname",
        "base",
        "--ratio",
        0.0625,
        *SMALL,
    ]
    assert_refused(
        call(*tune, "--image-size", 64), "base.pt", "32 pixels", "leave --image-size out"
    )
    assert " image_size=32 " in succeed(*tune)


def afresh(script: str, *args) -> str:
    """What a script prints that has not read the network yet, as in a process of its own."""
    imported.cache_clear()
    return succeed(script, *args)


def test_a_network_that_takes_one_size_alone_is_never_read_for_another(folder):
    Path("net.py").write_text(ONE_SIZE)
    of, size, sweep = (
        ["--model", "net.py:Net", "--dataset", "pets"],
        ["--image-size", 48],
        ["--ratios", 0.5, *SMALL],
    )
    afresh(*SEARCH, "--save", "fixed", *of, *size, "--ratio", 1)
    assert " image_size=48 " in afresh(
        "ratio_swipe.py", "--prune-fname", "fixed", *of, *sweep, "--save", "d_0"
    )
    afresh("train_norm.py", *of, *size, *SMALL, "--save", "base")
    assert " image_size=48 " in afresh(
        "fine_tune.py", "--prune-fname", "base", *of, *SMALL, "--ratio", 0.5, "--save", "e_0"
    )
    for script in ("list_architecture.py", "plot_filters.py"):
        afresh(script, "--prune-fname", "fixed", *of)
    afresh("plot_ratio.py", *of, "--runs", "mine=d")
    afresh("submit.py", *of, "--dry-run", "--search", "fixed", "--search-with", "image-size=48")
    afresh("submit.py", *of, "--dry-run", "--methods", "uniform", "--train-with", "image-size=48")
    imported.cache_clear()
    assert load_network("saved_models/net.Net/d_0@50.pt", "net.py:Net")


def test_an_exported_network_is_of_the_size_of_its_search(folder, monkeypatch):
    written = []
    monkeypatch.setattr("utils.export.export.check_packages", lambda: None)
    monkeypatch.setattr("utils.export.export.write", lambda *args, **_: written.append(args[5]))
    export = ["export.py", "--dataset", "pets", "--ratio", 0.25]
    succeed(*export, *OF_IT)
    assert "images of 64 pixels, while those of the search found were of 32" in succeed(
        *export, *OF_IT, "--image-size", 64
    )
    succeed(*export, "--uniform")  # nobody has searched: the folder's own
    shutil.copytree("pets", "CIFAR10")
    succeed("export.py", "--dataset", "./CIFAR10", "--ratio", 0.25, "--prune-fname", "published")
    assert [(shape["num_classes"], shape["image_size"]) for shape in written] == [
        (3, 32),
        (3, 64),
        (3, 64),
        (3, 64),
    ]
    assert_refused(
        call("export.py", "--dataset", "pets", "--save", "x", "--image-size", 64),
        "--image-size",
        "untrained",
    )


ONE_SIZE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.first, self.norm, self.pool = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.AvgPool2d(8)
        self.last = nn.Linear(16 * 6 * 6, num_classes)

    def forward(self, x):
        return self.last(self.pool(self.norm(self.first(x)).relu()).flatten(1))
"""


# --- scripts that read no images ------------------------------------------------------------------


def test_a_model_is_checked_for_the_classes_and_the_size_of_the_folder(pets):
    out = succeed("check_model.py", "--dataset", "pets")
    assert "vgg, 3 classes, images of 64 pixels" in out and out.endswith("ready\n")
    assert "vgg, 3 classes, images of 48 pixels" in succeed(
        "check_model.py", "--dataset", "pets", "--image-size", 48
    )
    assert "vgg, 7 classes, images of 64 pixels" in succeed(
        "check_model.py", "--dataset", "pets", "--num-classes", 7
    )
    pets.rename("CIFAR10")  # the folder counts, not what it is called
    assert "vgg, 3 classes, images of 64 pixels" in succeed(
        "check_model.py", "--dataset", "./CIFAR10"
    )
    assert "vgg, 100 classes, images of 32 pixels" in succeed(
        "check_model.py", "--dataset", "CIFAR100"
    )


def test_a_model_is_not_checked_for_a_data_set_that_is_not_there(pets):
    assert_refused(call("check_model.py", "--dataset", "cats"), "--dataset cats", "nor a folder")
    shutil.rmtree(pets / "test")
    assert_refused(call("check_model.py", "--dataset", "pets"), "pets/test")


def test_published_widths_are_listed_for_the_folder_that_is_named(pets):
    listing = ["list_architecture.py", "--prune-fname", "published", "--ratios", 0.25, "--json"]
    pets.rename("CIFAR10")
    listed = [
        json.loads(succeed(*listing, "--dataset", dataset)) for dataset in ("./CIFAR10", "CIFAR100")
    ]
    assert [(one["num_classes"], one["image_size"]) for one in listed] == [(3, 64), (100, 32)]


def test_a_picture_of_a_folder_that_is_called_as_a_data_set_has_its_own_classes_and_nothing_published(
    pets,
):
    pets.rename("CIFAR10")
    assert_refused(
        call("plot_ratio.py", "--dataset", "./CIFAR10"), "nothing to draw for vgg on CIFAR10"
    )
    succeed(*SWEEP, "--dataset", "./CIFAR10", "--save", "vgg_uni_c10_0")
    out = succeed("plot_ratio.py", "--dataset", "./CIFAR10")
    assert "published" not in out and "uniform" in out
