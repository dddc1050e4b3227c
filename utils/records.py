"""Every path and every file format. No other file spells a file name or opens a record.

Files are written under a temporary name and renamed, so a reader never sees half of one. Tables and records are plain
text; weights are read with ``weights_only=True``: opening a file never runs code from it.
"""
from __future__ import annotations

import contextlib
import csv
import fcntl
import glob
import io
import json
import math
import os
import platform
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

from utils.powerlaw import PowerLaw

PUBLISHED = "published"  # the record name that stands for the paper's own figures
PUBLISHED_TRAININGS = 1260
PUBLISHED_DIR = Path(__file__).resolve().parent.parent / "saved_plots" / PUBLISHED  # part of the project, wherever it is run


class UserError(Exception):
    """Something that the user can mend: one line that says what is wrong, where, and what to do."""


# --- paths ---------------------------------------------------------------------------------------------------------

def search_record(record_dir: str, save: str) -> Path:
    return Path(record_dir) / f"{save}.json"


def search_rows(record_dir: str, save: str, iteration: int) -> Path:
    return Path(record_dir) / f"{save}_{iteration}.csv"


def all_search_rows(record_dir: str, save: str) -> list[Path]:
    """The rows of every iteration of the search ``save``, and of no other whose name begins alike."""
    return [path for path in Path(record_dir).glob("*.csv") if re.fullmatch(re.escape(save) + r"_\d+\.csv", path.name)]


def result_file(plot_dir: str, model: str, save: str, ratio: float) -> Path:
    return Path(plot_dir) / model / f"{save}_{percent(ratio)}.json"


def percent(ratio: float) -> int:
    """int(100 * ratio), safe from binary fractions (1.15 is 115)."""
    return int(round(100 * ratio, 6))


def at_ratio(save: str, ratio: float) -> str:
    """What one training of a sweep calls its weights. No --save name has an @: x at ratio 0.25 is not the run x_25."""
    return f"{save}@{percent(ratio)}"


def weights_file(model_dir: str, model: str, name: str) -> Path:
    return Path(model_dir) / model / f"{name}.pt"


def unfinished_training(model_dir: str, model: str, name: str) -> Path:
    """The checkpoint of the training ``name``; removed when it is finished."""
    return Path(model_dir) / model / f"{name}@unfinished.pt"


def unfinished_search(model_dir: str, model: str, save: str) -> Path:
    """The checkpoint of the search ``save``; removed when its iteration is finished."""
    return Path(model_dir) / model / f"{save}@search.pt"


def check_name(save: str) -> str:
    """``save`` itself, if it can be part of a file name. Raises UserError."""
    if not re.fullmatch(r"\w[\w.+-]{0,150}", save):
        raise UserError(f"--save {save!r}: a name has letters, digits, and _ . + - only, and no slash")
    if save == PUBLISHED:
        raise UserError(f"--save {save!r}: this name stands for the published figures; choose another")
    return save


# --- writing -------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, put in its place when the block ends well; on an error ``path`` stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_up(path)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror or error}); what was there is untouched") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sweep_up(path: Path) -> None:
    """Removes what writers of ``path`` left that were killed."""
    for remains in path.parent.glob(f".{glob.escape(path.name)}.*.tmp{path.suffix}"):
        writer = remains.name.removeprefix(f".{path.name}.").removesuffix(f".tmp{path.suffix}")
        try:
            os.kill(int(writer), 0)  # asks whether it runs
        except ProcessLookupError:
            remains.unlink(missing_ok=True)
        except (ValueError, OverflowError, PermissionError):
            pass  # no file of ours, or of a process of somebody else's


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: dict) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_rows(path: Path, rows: list[list[int]]) -> None:
    """One line of widths per recorded round."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def write_tensors(path: Path, content: dict) -> None:
    """A dict of tensors, numbers, strings, lists and dicts of them."""
    import torch
    stream = io.BytesIO()
    torch.save(content, stream)
    with replacing(path) as temporary:
        temporary.write_bytes(stream.getvalue())


# --- reading -------------------------------------------------------------------------------------------------------

def read_text(path: Path, hint: str = "") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file{'; ' + hint if hint else ''}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read ({getattr(error, 'strerror', None) or error})") from None


def read_json(path: Path, hint: str = ""):
    """Raises UserError for a file that is missing, torn, or holds NaN or infinity."""

    def refuse(constant: str):
        raise ValueError(f"it holds {constant}")

    def finite(digits: str) -> float:
        number = float(digits)
        return number if math.isfinite(number) else refuse(digits)

    def countable(digits: str) -> int:
        return int(digits) if len(digits) < 18 else refuse(digits[:20])

    try:
        return json.loads(read_text(path, hint), parse_constant=refuse, parse_float=finite, parse_int=countable)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged or not JSON ({error}); restore it or remove it") from None


def read_rows(path: Path, layers: int, rounds: int | None = None) -> list[list[int]]:
    """The recorded widths of one iteration. Raises UserError for anything else than ``rounds`` rows of ``layers`` counts."""
    try:
        text = read_text(path)
        if not text.endswith("\n"):
            raise ValueError("its last line is torn")
        lines = csv.reader(text.splitlines(), strict=True)
        rows = [[_digits(cell) for cell in row] for row in lines]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}); restore it or remove it") from None
    if not rows or any(len(row) != layers or min(row) < 1 for row in rows):
        raise UserError(f"{path}: damaged or of another model; expected rows of {layers} positive numbers")
    if rounds not in (None, len(rows)):
        raise UserError(f"{path}: has {len(rows)} rows, its search recorded {rounds}; restore it or remove it")
    return rows


def _digits(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit()):  # int() would take 1_0 and +1
        raise ValueError(f"{cell!r} is not a whole number")
    return int(cell)


def read_tensors(path: Path) -> dict:
    """What write_tensors wrote, on the CPU. Raises UserError for anything else; runs no code from the file."""
    import torch
    try:
        with warnings.catch_warnings():  # about odd pickles, which are refused here anyway
            warnings.simplefilter("ignore")
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # torch itself checks no sums
                    raise ValueError("a checksum is wrong")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except Exception as error:  # torch raises whatever the damage happens to cause
        raise UserError(f"{path}: damaged, or not weights ({type(error).__name__}); restore it or remove it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content


def read_search(record_dir: str, save: str, model: str, dataset: str | None) -> dict:
    """The record of a search, checked: of this model (and dataset, if given), its numbers finite and of one length.

    Raises UserError otherwise.
    """
    path = search_record(record_dir, save)
    record = read_json(path, f"is {save!r} the --save name of a finished or begun search?")
    check_search(path, record)
    if record["model"] != model or dataset not in (None, record["dataset"]):
        raise UserError(f"{path}: a search of {record['model']} on {record['dataset']}, not of {model} on {dataset}")
    return record


def check_search(path: Path, record) -> None:
    """Raises UserError where ``record`` is not what a search writes."""
    try:
        if not isinstance(record["settings"], dict) or not all(isinstance(record[k], str) for k in ("model", "dataset")):
            raise ValueError("settings")
        if not all(isinstance(record[key], int) and 1 <= record[key] <= 10**6 for key in ("num_classes", "image_size")):
            raise ValueError("num_classes, image_size")
        from model import template
        layers = len(template(record["model"]))
        for entry in record["iterations"]:
            if len(entry["filters"]) != layers or not isinstance(entry["rounds"], int):
                raise ValueError(f"{record['model']} has {layers} layers")
            if not all(width == int(width) >= 1 for width in entry["filters"]):
                raise ValueError("filters")
            check_scaling(entry, layers)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not the record of a search, or damaged ({error}); restore it or remove it") from None


def check_scaling(entry: dict, layers: int) -> PowerLaw:
    """alpha and beta of one iteration. Raises ValueError where they are not ``layers`` positive, finite numbers."""
    law = PowerLaw([float(a) for a in entry["alpha"]], [float(b) for b in entry["beta"]])
    if not len(law.alpha) == len(law.beta) == layers:
        raise ValueError(f"alpha and beta must have {layers} numbers")
    if not all(0 < a < 1e30 for a in law.alpha) or not all(-100 < b < 100 for b in law.beta):
        raise ValueError("alpha must be positive, alpha and beta of a sane size")
    return law


def read_published_scaling(model: str, dataset: str, warmup: int | None = None) -> dict:
    """The published alpha and beta: {"warmup": P, "iterations": [{"alpha", "beta"}, ...]} of this model and dataset.

    Without ``warmup`` the setting that the paper's curves use. Raises UserError where nothing was published.
    """
    path = PUBLISHED_DIR / "scaling.json"
    table = read_json(path, "it comes with the project; restore it")
    try:
        if not (isinstance(table, list) and table):
            raise ValueError("not a list of searches")
        for entry in table:
            if (entry["model"], entry["dataset"]) == (model, dataset) and warmup in (None, entry["warmup"]):
                for iteration in entry["iterations"]:
                    check_scaling(iteration, len(entry["iterations"][0]["alpha"]))
                return entry
        pairs = sorted({f"{entry['model']} on {entry['dataset']}" for entry in table})
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from the repository") from None
    raise UserError(f"nothing was published for {model} on {dataset}; there is {', '.join(pairs)}")


def published_warmup(model: str, dataset: str) -> int | None:
    """The warm-up of the published curves of this model and data set; None where nothing was published."""
    try:
        return read_published_scaling(model, dataset)["warmup"]
    except UserError:
        return None


def read_scalings(record_dir: str, name: str, model: str, dataset: str) -> dict:
    """The record of the search ``name``, or of what was published: num_classes, image_size, and iterations of alpha,
    beta. Raises UserError."""
    if name != PUBLISHED:
        return read_search(record_dir, name, model, dataset)
    from utils.options import dataset_settings
    entry, settings = read_published_scaling(model, dataset), dataset_settings(dataset)
    return {**entry, "num_classes": settings.num_classes, "image_size": settings.image_size}


def read_morph(record_dir: str, name: str | None, model: str, dataset: str) -> list[int]:
    """The widths of the MorphNet baseline: the last row of the ``--morph`` search ``name``, without one the published.

    Raises UserError.
    """
    from model import template
    if name is None:
        path = PUBLISHED_DIR / "morphnet.json"
        table = read_json(path, "it comes with the project; restore it")
        try:
            if dataset in table[model]:
                widths = [width for width in table[model][dataset] if isinstance(width, int) and width >= 1]
                if len(widths) != len(template(model)):
                    raise ValueError(f"{model} on {dataset}")
                return widths
            pairs = [f"{m} on {d}" for m in table for d in table[m]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: damaged ({error}); restore it from the repository") from None
        raise UserError(f"no MorphNet widths were published for {model} on {dataset} (there is {', '.join(pairs)}); search them with "
                        "architecture_descent.py --morph and give its name with --prune-fname")
    record = read_search(record_dir, name, model, dataset)
    if not record["settings"].get("morph") or not record["iterations"]:
        raise UserError(f"{search_record(record_dir, name)}: not a finished --morph search; without --morph it gives NeuralScale")
    entry = record["iterations"][0]
    return read_rows(search_rows(record_dir, name, 0), len(entry["filters"]), entry["rounds"])[-1]


def read_result(path: Path) -> dict:
    """The result of one training. Raises UserError for anything else."""
    result = read_json(path)
    try:
        curve = result["test_acc"]
        if not (all(0 <= float(accuracy) <= 100 for accuracy in curve) and result["best"] == max(curve)
                and result["last"] == curve[-1] and result["params"] >= 1 and result["macs"] >= 1 and result["ratio"] > 0
                and isinstance(result["seed"], int) and isinstance(result["convcut"], bool) and isinstance(result["settings"], dict)
                and all(isinstance(result[key], str) for key in ("model", "dataset", "method"))):
            raise ValueError("its numbers disagree")
        for width in result["filters"]:
            if not int(width) >= 1:
                raise ValueError("filters")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path}: not the result of a training, or damaged ({error}); restore it or remove it") from None
    return result


def law_of(record: dict, iteration: int) -> PowerLaw:
    """alpha and beta after iteration ``iteration`` (from 0; -1 is the last). Raises UserError if it isn't there."""
    iterations = record["iterations"]
    if not -len(iterations) <= iteration < len(iterations):
        have = f"0 to {len(iterations) - 1}" if iterations else "none"
        raise UserError(f"--descent-idx {iteration}: this search has the iterations {have}")
    return PowerLaw(iterations[iteration]["alpha"], iterations[iteration]["beta"])


def read_accuracy() -> list[dict]:
    """The published trainings: model, dataset, method, ratio, seed, epochs, best_test_acc, last_test_acc."""
    path = PUBLISHED_DIR / "accuracy.csv"
    try:
        rows, text = [], read_text(path, "it comes with the project; restore it")
        if not text.endswith("\n"):
            raise ValueError("its last line is torn")
        for row in csv.DictReader(text.splitlines(), strict=True):
            numbers = {key: float(row[key]) for key in ("ratio", "best_test_acc", "last_test_acc")}
            if not all(math.isfinite(number) for number in numbers.values()):
                raise ValueError("a number is not finite")
            accuracies = numbers["best_test_acc"], numbers["last_test_acc"]
            if None in row or not (0 < numbers["ratio"] <= 64 and all(0 <= accuracy <= 100 for accuracy in accuracies)):
                raise ValueError("a ratio or an accuracy is out of range")
            rows.append({**row, **numbers, "seed": int(row["seed"]), "epochs": int(row["epochs"])})
        if len(rows) != PUBLISHED_TRAININGS:
            raise ValueError(f"{len(rows)} of {PUBLISHED_TRAININGS} trainings")
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from the repository") from None
    return rows


# --- who wrote it, and who is writing ------------------------------------------------------------------------------

def versions(device: str) -> dict:
    """The software and hardware that a number depends on."""
    import torch
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    return {"python": platform.python_version(), "torch": torch.__version__, "device": f"{device} ({name})"}


@contextlib.contextmanager
def working_on(path: Path, *folders: Path) -> Iterator[None]:
    """Holds the name that ``path`` belongs to for this process. Raises UserError while another one works on it, and
    when its folder, or one of the other ``folders`` that will be written to, can't be."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = lock.open("w")
    except OSError as error:
        raise UserError(f"{path.parent}: can't be written to ({error.strerror})") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with this process, however it ends
            if not os.path.samestat(os.fstat(stream.fileno()), lock.stat()):  # unlinked by its last holder meanwhile
                raise OSError
        except OSError:
            raise UserError(f"{path}: another process is working under this name; wait for it or choose another --save") from None
        try:
            for folder in folders:
                write_text(folder / f".{path.name}.probe", "")
                (folder / f".{path.name}.probe").unlink(missing_ok=True)
            yield
        finally:
            lock.unlink(missing_ok=True)


def same_settings(path: Path, settings: dict, stored: dict, may_grow: tuple[str, ...] = ()) -> None:
    """Raises UserError where work found under a name was begun with other settings."""
    for name in sorted({*settings, *stored}):
        new, old = settings.get(name), stored.get(name)
        grown = name in may_grow and isinstance(new, (int, float)) and isinstance(old, (int, float)) and new >= old
        if new != old and not grown:
            raise UserError(f"{path}: begun with {name} = {old}, not {new}; give that, another --save, or --overwrite")

