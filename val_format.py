"""Splits TinyImageNet's 10,000 validation images into val/<wnid>/images and test/<wnid>/images, 25
each per class."""

import re
from collections import defaultdict
from pathlib import Path

from utils.errors import UserError
from utils.records.files import read_text
from utils.records.paths import is_hidden, tiny_imagenet_folder
from utils.script import run
from utils.settings.parser import Parser

ANNOTATIONS = "val/val_annotations.txt"


def plan(root: Path) -> list[tuple[Path, Path]]:
    """Return every (source, target) of the split.

    A class's images are in numeric order: the first half is val, the rest test. Raises UserError if
    an image is in neither place, before anything is moved.
    """
    by_class, images = defaultdict(list), root / "val" / "images"
    for line in read_text(root / ANNOTATIONS).splitlines():
        name, wnid = (line.split("\t") + [""])[:2]
        if not (re.fullmatch(r"\w+\.JPEG", name) and re.fullmatch(r"\w+", wnid)):
            raise UserError(
                f"{root / ANNOTATIONS}: {line!r} is not 'image<TAB>class<TAB>box'; unzip the "
                "archive again"
            )
        by_class[wnid].append(name)

    moves = []
    for wnid, names in sorted(by_class.items()):
        names.sort(key=lambda name: int(re.sub(r"\D", "", name) or 0))
        for i, name in enumerate(names):
            part = "val" if i < len(names) // 2 else "test"
            moves.append((images / name, root / part / wnid / "images" / name))

    # refuse other images, and images that are in both places or in none
    stray = sorted(
        {path.name for path in images.glob("*") if not is_hidden(path.name)}
        - {source.name for source, _ in moves}
    )
    if stray:
        raise UserError(
            f"{images / stray[0]}: not in val_annotations.txt, with {len(stray) - 1} more; unzip "
            "the archive again. Nothing was moved"
        )
    both = [source for source, target in moves if source.exists() and target.exists()]
    if both:
        raise UserError(
            f"{both[0]} is also where it would be moved to; remove one of them. Nothing was moved"
        )
    missing = [source for source, target in moves if not (source.exists() or target.exists())]
    if missing:
        raise UserError(
            f"{missing[0]}: missing, with {len(missing) - 1} more; unzip the archive again. "
            "Nothing was moved"
        )
    return moves


def main() -> None:
    p = Parser(__doc__)
    p.add(
        "--data",
        "the unzipped archive, or the folder that tiny-imagenet-200 is in",
        default="data",
        metavar="DIR",
    )
    root = tiny_imagenet_folder(p.given()["data"], [ANNOTATIONS])
    moves = plan(root)

    # the archive's own test images have no labels
    unlabelled, aside = root / "test" / "images", root / "test_unlabelled" / "images"
    if unlabelled.is_dir():
        if aside.exists():
            raise UserError(f"{unlabelled} and {aside} both exist; move one of them away")
        aside.parent.mkdir(exist_ok=True)
        unlabelled.rename(aside)
        print(f"{unlabelled} has no labels: moved to {aside}")

    # move what was not moved before
    todo = [(source, target) for source, target in moves if source.exists()]
    for source, target in todo:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)

    left = root / "val" / "images"
    if left.is_dir() and not any(left.iterdir()):
        left.rmdir()

    classes = len({target.parent for _, target in moves}) // 2
    print(
        f"{root}: {classes} classes, {len(moves)} validation images in val/ and test/; "
        f"{len(todo)} moved now"
    )


if __name__ == "__main__":
    run(main)
