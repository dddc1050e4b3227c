"""val_format.py splits the validation images 25/25 and loses none, however often it runs and
wherever it is killed."""

import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from running import REPOSITORY, run

import val_format

CLASSES = ("n01443537", "n02124075", "n03042490", "n12267677")
PER_CLASS = 50


@pytest.fixture
def archive(tmp_path) -> Path:
    """The archive as unzipped, with 4 of its classes: val/images with annotations in no order,
    unlabelled test/images."""
    root = tmp_path / "tiny-imagenet-200"
    (root / "val" / "images").mkdir(parents=True)
    (root / "test" / "images").mkdir(parents=True)
    numbers = np.random.default_rng(0).permutation(PER_CLASS * len(CLASSES))
    lines = []
    for i, number in enumerate(numbers):
        (root / "val" / "images" / f"val_{number}.JPEG").write_bytes(b"image %d" % number)
        lines.append(f"val_{number}.JPEG\t{CLASSES[i % len(CLASSES)]}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    for number in range(3):
        (root / "test" / "images" / f"test_{number}.JPEG").write_bytes(b"unlabelled %d" % number)
    return root


def tree(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below ``root``: its inode, time and content."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
            path.read_bytes(),
        )
        for path in root.rglob("*")
        if path.is_file()
    }


def split_of(archive: Path) -> dict[str, str]:
    """Where each validation image belongs, worked out from the annotations: {name: path below the
    archive}."""
    by_class = defaultdict(list)
    for line in (archive / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid, *_ = line.split("\t")
        by_class[wnid].append(int(name.removeprefix("val_").removesuffix(".JPEG")))
    places = {}
    for wnid, numbers in by_class.items():
        for rank, number in enumerate(sorted(numbers)):
            places[f"val_{number}.JPEG"] = (
                f"{'val' if rank < 25 else 'test'}/{wnid}/images/val_{number}.JPEG"
            )
    return places


def test_what_a_system_leaves_beside_the_images_is_none_of_them(archive):
    expected = expected_tree(archive)
    left = ("._val_0.JPEG", ".DS_Store", "Thumbs.db", ".ipynb_checkpoints/val_0-checkpoint.JPEG")
    for name in left:
        (archive / "val" / "images" / name).parent.mkdir(exist_ok=True)
        (archive / "val" / "images" / name).write_bytes(b"no image")
    for _ in range(2):
        assert run("val_format.py", "--data", archive).status == 0
    found = tree(archive)
    assert (
        all(found.pop(f"val/images/{name}")[2] == b"no image" for name in left)
        and found == expected
    )


def expected_tree(archive: Path) -> dict[str, tuple[int, int, bytes]]:
    """The tree that the script must make of ``archive``: the same files, moved."""
    places = split_of(archive)
    moved = {f"val/images/{name}": place for name, place in places.items()}
    return {
        moved.get(name, name.replace("test/images/", "test_unlabelled/images/")): file
        for name, file in tree(archive).items()
    }


def folders(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()}


def test_each_class_gives_its_first_25_images_in_numeric_order_to_val_and_25_to_test(archive):
    expected = expected_tree(archive)
    result = run("val_format.py", "--data", archive)
    assert (result.status, result.err) == (0, "")
    assert "4 classes, 200 validation images" in result.out and "200 moved now" in result.out
    assert tree(archive) == expected
    for wnid in CLASSES:
        numbers = {
            part: [int(path.stem[4:]) for path in (archive / part / wnid / "images").iterdir()]
            for part in ("val", "test")
        }
        assert len(numbers["val"]) == len(numbers["test"]) == 25
        assert max(numbers["val"]) < min(numbers["test"])
    # No empty folder stays, which would be taken for a class.
    assert {path.name for path in (archive / "val").iterdir()} == {*CLASSES, "val_annotations.txt"}
    assert {path.name for path in (archive / "test").iterdir()} == set(CLASSES)


def test_the_order_is_numeric_not_alphabetic(tmp_path):
    (tmp_path / "val" / "images").mkdir(parents=True)
    names = [f"val_{number}.JPEG" for number in (100, 9, 10, 99)]
    for name in names:
        (tmp_path / "val" / "images" / name).touch()
    (tmp_path / "val" / "val_annotations.txt").write_text(
        "".join(f"{name}\tn01\t0\t0\t1\t1\n" for name in names)
    )
    assert [(target.name, target.parts[-4]) for _, target in val_format.plan(tmp_path)] == [
        ("val_9.JPEG", "val"),
        ("val_10.JPEG", "val"),
        ("val_99.JPEG", "test"),
        ("val_100.JPEG", "test"),
    ]


@pytest.mark.parametrize("arguments", [(), ("--data", "."), ("--data", "tiny-imagenet-200")])
def test_the_archive_is_found_here_or_where_data_says_without_its_test_folder_too(
    archive, arguments
):
    shutil.rmtree(archive / "test")  # as the README's commands do
    expected = expected_tree(archive)
    assert run("val_format.py", *arguments, cwd=archive.parent).status == 0
    assert tree(archive) == expected
    assert not (archive / "test_unlabelled").exists()


def test_a_second_run_changes_nothing(archive):
    run("val_format.py", "--data", archive)
    before, directories = tree(archive), folders(archive)
    again = run("val_format.py", "--data", archive)
    assert (again.status, again.err) == (0, "")
    assert "0 moved now" in again.out
    assert (tree(archive), folders(archive)) == (before, directories)


def test_unlabelled_test_images_are_moved_aside_not_deleted(archive):
    before = {path.name: path.read_bytes() for path in (archive / "test" / "images").iterdir()}
    result = run("val_format.py", "--data", archive)
    assert {
        path.name: path.read_bytes() for path in (archive / "test_unlabelled" / "images").iterdir()
    } == before
    assert not (archive / "test" / "images").exists()
    assert "test_unlabelled" in result.out


@pytest.mark.parametrize("done", [1, 100, 199])
def test_a_split_done_in_part_is_finished(archive, done):
    expected = expected_tree(archive)
    for source, target in val_format.plan(archive)[:done]:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    result = run("val_format.py", "--data", archive)
    assert result.status == 0 and f"{200 - done} moved now" in result.out
    assert tree(archive) == expected


KILLED = """
import os, pathlib, runpy, signal, sys
rename, left = pathlib.Path.rename, int(sys.argv.pop(1))
def rename_or_die(self, target):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return rename(self, target)
pathlib.Path.rename = rename_or_die
sys.argv[0] = "val_format.py"
runpy.run_path("val_format.py", run_name="__main__")
"""


@pytest.mark.parametrize(
    "renames", [0, 1, 2, *np.random.default_rng(1).integers(3, 200, 3).tolist(), 200]
)
def test_after_sigkill_every_file_is_still_there_and_the_next_run_finishes(archive, renames):
    expected, files = expected_tree(archive), sorted(tree(archive).values())
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(renames), "--data", archive], cwd=REPOSITORY, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert sorted(tree(archive).values()) == files
    assert run("val_format.py", "--data", archive).status == 0
    assert tree(archive) == expected


# --- what is refused ------------------------------------------------------------------------------


def refused(result: subprocess.CompletedProcess) -> str:
    assert result.status == 2
    assert result.out == "" and result.err.count("\n") == 1 and "Traceback" not in result.err
    return result.err


@pytest.mark.parametrize("part_done", [False, True])
def test_a_missing_image_is_named_and_nothing_is_moved(archive, part_done):
    if part_done:
        for source, target in val_format.plan(archive)[:50]:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
    lost = next((archive / "val" / "images").iterdir())
    lost.unlink()
    before, directories = tree(archive), folders(archive)
    message = refused(run("val_format.py", "--data", archive))
    assert str(lost) in message and "Nothing was moved" in message
    assert (tree(archive), folders(archive)) == (before, directories)


def test_an_image_that_is_in_both_places_is_not_overwritten(archive):
    source, target = val_format.plan(archive)[120]
    target.parent.mkdir(parents=True)
    target.write_bytes(b"something else")
    files = sorted(content for _, _, content in tree(archive).values())
    assert run("val_format.py", "--data", archive).status == 2
    assert target.read_bytes() == b"something else" and source.exists()
    assert sorted(content for _, _, content in tree(archive).values()) == files
    target.unlink()
    expected = expected_tree(archive)
    assert run("val_format.py", "--data", archive).status == 0
    assert {name: file[2] for name, file in tree(archive).items()} == {
        name: file[2] for name, file in expected.items()
    }


@pytest.mark.parametrize(
    "line",
    ["../../escape.JPEG\tn01443537\t0", "val_0.JPEG", "val_0.JPEG\t../../n01\t0", "\udcff", ""],
)
def test_annotations_that_are_not_annotations_are_refused_and_nothing_is_moved(archive, line):
    with (archive / "val" / "val_annotations.txt").open("ab") as stream:
        stream.write(f"{line}\n".encode(errors="surrogateescape"))
    before = tree(archive)
    assert "val_annotations.txt" in refused(run("val_format.py", "--data", archive))
    assert tree(archive) == before


def test_a_folder_without_the_archive_is_told_what_to_do(tmp_path):
    message = refused(run("val_format.py", "--data", "nowhere", cwd=tmp_path))
    assert "nowhere" in message and "tiny-imagenet-200.zip" in message and "--data" in message


# --- the real archive -----------------------------------------------------------------------------


def test_the_real_archive_is_split_25_and_25_for_each_of_200_classes(real_images, tmp_path):
    # the shared copy stays as it is: a rename of a second name leaves the first alone
    def link(source, target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    archive = tmp_path / "tiny-imagenet-200"
    for part in ("val", "test"):
        shutil.copytree(
            real_images / "tiny-imagenet-200" / part, archive / part, copy_function=link
        )
    if not (archive / "val" / "images").is_dir():
        pytest.skip(f"{real_images} has been split already")
    expected = {name: inode for name, (inode, _, _) in expected_tree(archive).items()}
    result = run("val_format.py", cwd=tmp_path)
    assert (result.status, result.err) == (0, "")
    assert "200 classes, 10000 validation images" in result.out
    assert {
        str(path.relative_to(archive)): path.stat().st_ino
        for path in archive.rglob("*")
        if path.is_file()
    } == expected
    for part in ("val", "test"):
        assert {
            len(list((archive / part / wnid / "images").iterdir()))
            for wnid in set(
                line.split("\t")[1]
                for line in (archive / "val" / "val_annotations.txt").read_text().splitlines()
            )
        } == {25}
    assert "0 moved now" in run("val_format.py", cwd=tmp_path).out
