"""The command line: each option once, with its meaning and default; the published settings of each data set.

Imports no torch: ``--help`` and a mistyped option answer at once.
"""
from __future__ import annotations

import argparse
import math
import re
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model import MODELS, template
from utils.records import UserError, check_name


@dataclass(frozen=True)
class Dataset:
    """The settings that go with a data set (paper, section 4.1). Milestones are fractions of the epochs."""

    short: str  # in the default names of runs
    num_classes: int | None = None  # None: from the data
    image_size: int = 32
    mean: tuple[float, ...] | None = None  # None: from the training images
    std: tuple[float, ...] | None = None
    flip: bool = True
    rotation: float = 0.0  # degrees
    search_crop: bool = True  # whether the search crops at random too
    search_batch: int = 256
    prune_every: int = 50
    epochs: int = 300
    milestones: tuple[float, ...] = (1 / 3, 2 / 3, 5 / 6)
    fine_tune_epochs: int = 40
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


CIFAR10 = Dataset("c10", 10, mean=(125.3 / 255, 123.0 / 255, 113.9 / 255), std=(63.0 / 255, 62.1 / 255, 66.7 / 255))
CIFAR100 = Dataset("c100", 100, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
TINYIMAGENET = Dataset(
    "tinyimagenet", 200, 64, mean=(0.4802, 0.4481, 0.3975), std=(0.2302, 0.2265, 0.2262), rotation=20.0,
    search_crop=False, search_batch=100, prune_every=100, epochs=150, milestones=(1 / 3, 2 / 3), fine_tune_epochs=20,
    ratios=(0.25, 0.5, 0.75, 1.0))
DATASETS = {
    "CIFAR10": CIFAR10,
    "CIFAR100": CIFAR100,
    "tinyimagenet": TINYIMAGENET,
    "digits": Dataset("digits", 10, flip=False),
}


def dataset_name(argument: str) -> str:
    """The name that records carry: the argument itself, or the last part of a path to a folder of images."""
    name = argument if argument in DATASETS else Path(argument).resolve().name
    return "tinyimagenet" if name == "tiny-imagenet-200" else name


def dataset_settings(name: str) -> Dataset:
    """The published settings of ``name``; for a folder of the user's own, those of CIFAR."""
    return DATASETS.get(name) or Dataset(re.sub(r"\W", "_", name))


# --- types of arguments --------------------------------------------------------------------------------------------

def whole(low: int, high: int = 10**9) -> Callable[[str], int]:
    """An argparse type: a whole number between ``low`` and ``high``."""
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return number
    return parse


def real(low: float, high: float, *, above: bool = True) -> Callable[[str], float]:
    """An argparse type: a number above ``low`` (from it on, where not ``above``) and at most ``high``."""
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not (math.isfinite(number) and low <= number <= high) or (above and number == low):
            raise argparse.ArgumentTypeError(f"{text} is not {'above' if above else 'at least'} {low:g} and at most {high:g}")
        return number
    return parse


ratio = real(0.0, 64.0)  # a network of 64 times the width has 4,096 times the parameters


def name_type(text: str) -> str:
    try:
        return check_name(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--save ")) from None


# --- the parser ----------------------------------------------------------------------------------------------------

class Parser(argparse.ArgumentParser):
    """argparse where - and _ are the same in option names, help shows true defaults, and an error is one line."""

    def __init__(self, description: str):
        super().__init__(description=description, allow_abbrev=False,
                         formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=110))

    def add(self, flag: str, help: str, **arguments) -> None:
        default = arguments.get("default")
        if default not in (None, False) and "%(default)s" not in help:
            shown = " ".join(map(str, default)) if isinstance(default, (list, tuple)) else "%(default)s"
            help = f"{help} (default: {shown})"
        self.add_argument(flag, help=help, **arguments)

    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
        args = sys.argv[1:] if args is None else args
        return super().parse_args([re.sub(r"^--[\w-]+", lambda m: m[0].replace("_", "-"), arg) for arg in args], namespace)

    def error(self, message: str):
        print(" ".join(f"{self.prog}: error: {message} (see {self.prog} --help)".split()), file=sys.stderr)
        raise SystemExit(2)


def parser(description: str, *, dataset: str = "CIFAR10", models: list[str] | None = None) -> Parser:
    """A parser with what every script takes: which network, which data, where the files are."""
    p = Parser(description)
    models = models or list(MODELS)
    p.add("--model", "network", choices=models, default=models[0])
    p.add("--dataset", "CIFAR10, CIFAR100, tinyimagenet, digits, or a path to a folder with train/ and test/",
          default=dataset)
    p.add("--record-dir", "where searches are recorded", default="prune_record", metavar="DIR")
    p.add("--plot-dir", "where results and plots are", default="saved_plots", metavar="DIR")
    return p


def add_running(p: Parser) -> None:
    """The options of a script that trains."""
    p.add("--save", "name of this run; NAME_X without --seed has the seed X", required=True, type=name_type, metavar="NAME")
    p.add("--data", "where data sets are, or are downloaded to", default="data", metavar="DIR")
    p.add("--seed", "seed of weights, order and augmentation (default: X of --save NAME_X, else 0)", type=whole(0, 2**31))
    p.add("--device", "cpu, cuda, cuda:N; auto is CUDA where there is one", default="auto")
    p.add("--model-dir", "where weights and unfinished work are kept", default="saved_models", metavar="DIR")
    p.add("--momentum", "SGD momentum", type=real(0, 0.999, above=False), default=0.5)
    p.add("--weight-decay", "SGD weight decay", type=real(0, 1, above=False), default=5e-4)
    p.add("--limit-train", "train on N images, equally many of each class", type=whole(1), metavar="N")
    p.add("--limit-test", "test on N images, equally many of each class", type=whole(1), metavar="N")
    p.add("--amp", "bfloat16 autocast", action="store_true")
    p.add("--resume", "go on where this run was interrupted", action="store_true")
    p.add("--overwrite", "begin anew, replacing what is stored under this name", action="store_true")


def add_training(p: Parser, *, lr: float = 0.1, epochs: str = "the data set's, 300 or 150") -> None:
    """The options of a script that trains networks from scratch."""
    p.add("--epochs", f"epochs (default: {epochs})", type=whole(1, 100_000))
    p.add("--batch-size", "images per step", type=whole(1), default=128)
    p.add("--lr", "initial learning rate, divided by 10 at the data set's milestones", type=real(0, 100), default=lr)
    p.add("--compile", "torch.compile the network; needs a C++ compiler", action="store_true")


def add_search(p: Parser, dataset: Dataset) -> None:
    """The options of a search; the defaults are the paper's."""
    p.add("--warmup", "epochs before pruning, P in the paper", type=whole(0, 100_000), default=10)
    p.add("--iterations", "descent iterations", type=whole(1, 1000), default=15)
    p.add("--epochs", "most epochs of an iteration; it ends when it is pruned down", type=whole(1, 100_000), default=300)
    p.add("--morph", "MorphNet (Taylor-FO) baseline: one iteration, pruned by half", action="store_true")
    p.add("--prune-every", "batches between pruning rounds", type=whole(1), default=dataset.prune_every, metavar="K")
    p.add("--prune-step", "filters to prune per round", type=whole(1), default=10, metavar="N")
    p.add("--prune-fraction", "fraction of all filters to prune (default: 0.95; 0.5 with --morph)", type=real(0, 1))
    p.add("--ratio", "scale the template's widths before the search", type=ratio, default=1.0)
    p.add("--batch-size", "images per step", type=whole(1), default=dataset.search_batch)
    p.add("--lr", "learning rate of the warm-up; pruning starts at a tenth of it", type=real(0, 100), default=0.1)
    p.add("--no-compact", "keep pruned filters in the network, masked; slower, the same search", action="store_false",
          dest="compact")


def add_sweep(p: Parser) -> None:
    """The options of a sweep over ratios."""
    add_running(p)
    add_training(p)
    p.add("--prune-fname", "NeuralScale: the --save name of a search, or 'published'; with --morph, of a --morph search",
          metavar="NAME")
    p.add("--descent-idx", "descent iteration, counted from 0 (default: the last one, 14 of a full search)", type=whole(0),
          metavar="I")
    p.add("--uniform", "uniform scaling of the template", action="store_true")
    p.add("--morph", "MorphNet (Taylor-FO): the published widths, or those of --prune-fname", action="store_true")
    p.add("--convcut", "a convolution in every shortcut", action="store_true")
    p.add("--ratios", "scaling ratios (default: 0.25 to 2 in steps of 0.25, on TinyImageNet to 1)", type=ratio, nargs="+",
          metavar="R")


def add_plotting(p: Parser) -> None:
    """The options of the scripts that draw curves."""
    p.add("--runs", "your runs: NAME, NAME_0, NAME_1, ... are the seeds of LABEL (default: the README's names)", nargs="+",
          metavar="LABEL=NAME")
    p.add("--no-published", "leave the published curves out", action="store_true")
    p.add("--axis", "against what", choices=["params", "macs", "latency"], default="params")
    p.add("--device", "where to measure latency", default="auto")
    p.add("--out", "the PNG to write (default: <plot-dir>/<model>/<dataset>_....png)", metavar="FILE")


def fill_in(args: argparse.Namespace, *, fine_tuning: bool = False) -> None:
    """Puts in the data set's own defaults where nothing was given."""
    settings = dataset_settings(dataset_name(args.dataset))
    args.epochs = args.epochs or (settings.fine_tune_epochs if fine_tuning else settings.epochs)
    if "ratios" in vars(args):
        args.ratios = args.ratios or list(settings.ratios)


def seed_of(args: argparse.Namespace) -> int:
    """--seed, else the X of --save NAME_X, else 0."""
    if args.seed is not None:
        return args.seed
    number = re.search(r"_(\d{1,9})$", args.save)
    return int(number[1]) if number else 0


def refuse_empty_layers(model: str, ratio: float) -> None:
    """Raises UserError for a ratio that leaves a layer of the template without a filter."""
    narrowest = min(template(model))
    if int(narrowest * ratio) < 1:
        raise UserError(f"ratio {ratio:g}: {model}'s narrowest layer has {narrowest} filters, and would have none left")


def show_settings(args: argparse.Namespace, **more) -> None:
    """Prints every setting of this run, given or default."""
    print(f"{Path(sys.argv[0]).name}:", " ".join(f"{key}={value}" for key, value in sorted({**vars(args), **more}.items())), flush=True)


# --- errors --------------------------------------------------------------------------------------------------------

class Terminated(BaseException):
    """SIGTERM, as an exception, so that files are left whole."""


def run(main: Callable[[], None]) -> None:
    """Runs a script: its exit status, and one line instead of a traceback for what a user can mend.

    2 for an error, 130 for Ctrl-C, 143 for SIGTERM.
    """
    script = Path(sys.argv[0]).name

    def terminate(signum, frame):
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        main()
    except (KeyboardInterrupt, Terminated) as stop:
        again = " ".join(shlex.quote(arg) for arg in sys.argv[1:] if arg != "--overwrite")
        again += "" if "--resume" in sys.argv or "--save" not in again else " --resume"
        _last_words(f"{script}: stopped; finished epochs are saved. Go on with: python3 {script} {again}",
                    130 if isinstance(stop, KeyboardInterrupt) else 143)
    except UserError as error:
        _last_words(f"{script}: error: {error}", 2)
    except BrokenPipeError:
        sys.stdout = None  # the reader of our output has gone: nothing to flush to
        raise SystemExit(141) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _last_words(f"{script}: error: {where}{error.strerror or error}", 2)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "memory" in str(error).lower()):
            raise
        _last_words(f"{script}: error: out of memory; use a smaller --batch-size or ratio ({str(error)[:150]})", 2)


def _last_words(line: str, status: int):
    sys.stdout.flush()
    print(" ".join(line.split()), file=sys.stderr, flush=True)
    raise SystemExit(status)
