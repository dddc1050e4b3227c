"""All paths of the project. No other file spells a file name."""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from model.names import is_imported, parsed, spelled
from utils.errors import UserError
from utils.settings.target import Limit, Size

# what results are named after, a ratio or a target, as a regular expression
SIZES = r"(?:\d+|\d+(?:\.\d+)?(?:pct|[kMG]?)-(?:params|macs))"
LONGEST_NAMES = 100  # characters, in the name of a page
LONGEST_ARGUMENTS = 60  # characters, in the name of a folder
PROJECT = Path(__file__).resolve().parents[2]  # the folder of its scripts
PUBLISHED_DIR = PROJECT / "saved_plots" / "published"
# as unpacked, and as downloaded
ARCHIVES = {
    "CIFAR10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "CIFAR100": ("cifar-100-python", "cifar-100-python.tar.gz"),
}
NO_DATA = {
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "__pycache__",
    "thumbs.db",
    "desktop.ini",
}


def is_hidden(name: str) -> bool:
    """Return True if a file or folder of this name is nobody's data: .git, ._x.jpg, __MACOSX and
    the like."""
    return name.startswith(".") or name.lower() in NO_DATA


def image_folder(dataset: str, data_dir: str) -> Path | None:
    """Return the folder of images that ``--dataset`` and ``--data`` mean; None if they mean none.

    A path is meant as it is. A built-in data set has the folder ``data_dir``/<its name>, with
    train/ and test/, where its archive is absent. Raises UserError for TinyImageNet if it is
    nowhere.
    """
    if Path(dataset).is_dir():
        return Path(dataset)
    folder = Path(data_dir) / dataset
    is_there = any((folder / part).is_dir() for part in ("train", "test"))

    if dataset == "tinyimagenet":
        try:
            return tiny_imagenet_folder(data_dir)
        except UserError:
            if not is_there:
                raise
    elif dataset not in ARCHIVES or any(
        (Path(data_dir) / archive).exists() for archive in ARCHIVES[dataset]
    ):
        return None
    return folder if is_there else None


def tiny_imagenet_folder(data_dir: str, parts: Sequence[str] = ("train", "val")) -> Path:
    """Return the folder of TinyImageNet with these ``parts``.

    It is ``data_dir`` itself, or tiny-imagenet-200 in it or in the current folder. Raises
    UserError.
    """
    places = [Path(data_dir), Path(data_dir) / "tiny-imagenet-200", Path("tiny-imagenet-200")]
    for place in places:
        if all((place / part).exists() for part in parts):
            return place
    raise UserError(
        f"no TinyImageNet with {' and '.join(parts)} in {', '.join(map(str, places))}: unzip "
        "tiny-imagenet-200.zip there, or say where it is with --data"
    )


def search_record(record_dir: str, save: str) -> Path:
    """Return the record of a search."""
    return Path(record_dir) / f"{save}.json"


def release_record(record_dir: str, save: str) -> Path:
    """Return the record of the same search in the original release's format."""
    return Path(record_dir) / f"{save}.pk"


def search_rows(record_dir: str, save: str, iteration: int) -> Path:
    """Return the table of the rows of one iteration."""
    return Path(record_dir) / f"{save}_{iteration}.csv"


def all_search_rows(record_dir: str, save: str) -> list[Path]:
    """Return the rows of every iteration of the search ``save``, and of no other search."""
    return [
        path
        for path in Path(record_dir).glob("*.csv")
        if re.fullmatch(re.escape(save) + r"_\d+\.csv", path.name)
    ]


def file_name_of(model: str) -> str:
    """Return the name of a network in file names.

    MODULE:FUNCTION gets a point; FILE.py:FUNCTION has the file's own name. Arguments follow:
    net.Net+depth-3+drop-0.1, with a checksum where they are long or have characters that file names
    should not have.
    """
    if not is_imported(model):
        return model
    name = parsed(model)
    called = f"{Path(name.place).stem if name.is_file else name.place}.{name.function}"
    if not name.arguments:
        return called

    words = {
        key: value
        if isinstance(value, str) and re.fullmatch(r"(?!True$|False$|None$)[a-zA-Z][\w.]*", value)
        else spelled(value)
        for key, value in sorted(name.arguments.items())
    }

    said = "".join(f"+{key}-{word}" for key, word in words.items())
    safe = re.sub(r"[^\w.+-]+", "_", said, flags=re.ASCII).replace("-_", "-").rstrip("_")
    told_apart = safe == said and len(said) <= LONGEST_ARGUMENTS
    return called + (
        safe if told_apart else f"{safe[:LONGEST_ARGUMENTS]}_{zlib.crc32(said.encode()):08x}"
    )


def shown_name(model: str) -> str:
    """Return the name of a network in pictures: FILE.py:FUNCTION without the file's folder."""
    if not is_imported(model):
        return model
    name = parsed(model)
    return str(name._replace(place=Path(name.place).name))


def named_after(folder: str, model: str) -> Path:
    """Return the folder in ``folder`` that has a network's files."""
    return Path(folder) / file_name_of(model)


def result_file(plot_dir: str, model: str, save: str, size: Size) -> Path:
    """Return the result of a training."""
    return named_after(plot_dir, model) / f"{save}_{size_slug(size)}.json"


def size_slug(size: Size) -> str:
    """Return a size in file names: int(100 * ratio), or for a target 25pct-macs; see SIZES."""
    return size.slug if isinstance(size, Limit) else str(percent(size))


def percent(ratio: float) -> int:
    """Return int(100 * ratio), safe from binary fractions (1.15 is 115)."""
    return int(round(100 * ratio, 6))


def at_size(save: str, size: Size) -> str:
    """Return the name of one training of a sweep, for its weights.

    No --save name has an @, so x at ratio 0.25 is not the run x_25.
    """
    return f"{save}@{size_slug(size)}"


def weights_file(model_dir: str, model: str, name: str) -> Path:
    """Return the weights of a training."""
    return named_after(model_dir, model) / f"{name}.pt"


def unfinished_training(model_dir: str, model: str, name: str) -> Path:
    """Return the checkpoint of the training ``name``, which is removed when it is finished."""
    return named_after(model_dir, model) / f"{name}@unfinished.pt"


def unfinished_search(model_dir: str, model: str, save: str) -> Path:
    """Return the checkpoint of the search ``save``, which is removed with each finished
    iteration."""
    return named_after(model_dir, model) / f"{as_search(save)}.pt"


def as_search(save: str) -> str:
    """Return the name of a search, for its checkpoint and its log."""
    return f"{save}@search"


def job_log(model_dir: str, model: str, name: str) -> Path:
    """Return the log of a job of an experiment, beside its weights and its checkpoint."""
    return named_after(model_dir, model) / f"{name}.log"


def page_file(plot_dir: str, model: str, dataset: str, names: Sequence[str]) -> Path:
    """The page of the runs ``names``; a number stands for what is long of them."""
    said = "_".join(names)
    if len(said) > LONGEST_NAMES:
        said = f"{said[:LONGEST_NAMES]}_{zlib.crc32(said.encode()):08x}"
    return named_after(plot_dir, model) / f"{dataset}_{said}_report.html"


def study_figure(folder: Path, part: str, shown: str) -> Path:
    """Return a figure of a study."""
    return folder / f"study_{part}_{shown}.png"


def submissions(model_dir: str) -> Path:
    """Return the folder of submissions to a scheduler: records of their jobs, and submitit's
    files."""
    return Path(model_dir) / "submitted"


def submission_record(model_dir: str, name: str) -> Path:
    """Return the record of the jobs in a scheduler's array ``name``."""
    return submissions(model_dir) / f"{name}.json"


def submission_folder(model_dir: str, name: str) -> Path:
    """Return the folder of submitit's files for the array ``name``."""
    return submissions(model_dir) / name


def decoded_images(record_dir: str, source: str, fingerprint: str) -> Path:
    """Return the decoded images of ``source``."""
    return Path(record_dir) / "images" / f"{source}_{fingerprint}.rgb"


def all_decoded_images(record_dir: str, source: str) -> list[Path]:
    """Return the decoded images of ``source`` with any fingerprint."""
    return list((Path(record_dir) / "images").glob(f"{source}_*.rgb"))


def lock_of(path: Path) -> Path:
    """Return the lock that a process holds while it works on ``path``."""
    return path.with_name(f".{path.name}.lock")
