"""One piece of work under one name: what it locks, what it goes on from, what it must not touch."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from utils.errors import UserError, is_out_of_memory
from utils.records.files import read_tensors, write_tensors
from utils.records.locks import exclusive
from utils.records.paths import PUBLISHED_DIR

# what a piece of work depends on, as its checkpoint, its weights and its result hold it
Begun = dict[str, Any]
OTHERWISE = "give that, another --save, or --overwrite"  # where work of other settings has a name


class Run:
    """A piece of work that ends with the file ``result``, and until then has its state in
    ``checkpoint``.

    ``weights`` is what it leaves beside its result. All of its files are locked while it works, the
    weights with the checkpoint, whose folder and name they share.
    """

    def __init__(
        self,
        result: Path,
        checkpoint: Path,
        weights: Path | None = None,
        *,
        resume: bool,
        defaults: Begun,
    ):
        self.result, self.checkpoint, self.weights, self.resume = (
            result,
            checkpoint,
            weights,
            resume,
        )
        self.begun_with: Begun = {}  # what this run depends on, known when its data are
        # what stored work is taken to have been begun with where it does not say
        self.defaults = defaults
        self.address = address(result, checkpoint)

    def exclusive(self) -> AbstractContextManager[None]:
        """Holds the run's files for this process. Raises UserError while another one works on one
        of them."""
        return exclusive(self.result, self.checkpoint)

    def discard(self) -> None:
        """Removes what is stored under this name: --overwrite."""
        for path in (self.result, self.checkpoint, self.weights):
            if path:
                path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Writes the checkpoint."""
        write_tensors(
            self.checkpoint, {"begun_with": self.begun_with, "result": self.address, **state}
        )

    def restore(
        self,
        load: Callable[[dict[str, Any]], None],
        is_over: Callable[[Begun], bool] = lambda _: False,
    ) -> bool:
        """Hands the checkpoint, if there is one, to ``load``. False where there is none, and where
        the work that it is of ``is_over``. Raises UserError without --resume, and for a checkpoint
        that this run can't go on from."""
        if not self.checkpoint.exists():
            return False
        if not self.resume:
            raise UserError(
                f"{self.checkpoint}: an interrupted run has this name; --resume goes on with "
                "it, --overwrite begins anew"
            )
        other = read_tensors(self.checkpoint).get("result")  # earlier versions did not say
        if other not in (None, self.address):
            raise UserError(
                f"{self.checkpoint}: the unfinished work of "
                f"{self.checkpoint.parent / str(other)}; finish that, choose another "
                "--save or --model-dir, or --overwrite"
            )
        return restore(self.checkpoint, self.begun_with, load, self.defaults, is_over)

    def refuse_others_weights(self) -> None:
        """Raises UserError where the weights that would be replaced are of another training."""
        if self.weights and self.weights.exists():
            stored = read_tensors(self.weights).get("begun_with")
            if stored is None:
                raise UserError(
                    f"{self.weights}: weights of another run, whose settings they don't say; "
                    "choose another --save or "
                    "--model-dir, or --overwrite"
                )
            same_settings(self.weights, self.begun_with, {**self.defaults, **stored})

    def forget_own_checkpoint(self, is_over: Callable[[Begun], bool] = lambda _: True) -> None:
        """Removes a checkpoint that outlived this run's end. One of a run that stores its result
        elsewhere stays."""
        # there is none, or it is damaged: nobody's harm
        with contextlib.suppress(UserError, KeyError, TypeError):
            saved = read_tensors(self.checkpoint)
            if saved.get("result") == self.address and is_over(saved["begun_with"]):
                self.checkpoint.unlink(missing_ok=True)


def address(result: Path, checkpoint: Path) -> str:
    """Where a result is, from its checkpoint: the same after both have been moved together, and by
    whichever link."""
    place = Path(os.path.realpath(result.parent)) / result.name
    try:
        return os.path.relpath(place, os.path.realpath(checkpoint.parent))
    except ValueError:  # on another drive, on Windows
        return str(place)


def restore(
    path: Path,
    begun_with: Begun,
    load: Callable[[dict[str, Any]], None],
    defaults: Begun,
    is_over: Callable[[Begun], bool],
) -> bool:
    """Hands what ``path`` holds to ``load``, if it was begun with what is asked for; False where
    its work ``is_over``.

    Raises UserError, and tells a damaged file, one of other settings and one of another network
    apart.
    """
    saved, hint = read_tensors(path), "--overwrite begins anew"
    stored = taken_up(path, lambda: dict(saved["begun_with"]), hint)
    if taken_up(path, lambda: is_over(stored), hint):
        return False
    same_settings(path, begun_with, {**defaults, **stored})
    taken_up(path, lambda: load(saved), hint)
    return True


T = TypeVar("T")


def taken_up(path: Path, load: Callable[[], T], hint: str) -> T:
    """What ``load`` makes of the content of ``path``. Raises UserError, and tells damage and
    another network apart."""
    try:
        return load()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise UserError(f"{path}: damaged ({type(error).__name__}: {error}); {hint}") from None
    except RuntimeError as error:  # how torch says that shapes or names of weights don't fit
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"{path}: of another network ({' '.join(str(error).split())[:200]}); {hint}"
        ) from None


def same_settings(
    path: Path,
    settings: Begun,
    stored: Begun,
    may_grow: tuple[str, ...] = (),
    *,
    work: str = "begun",
    advice: str = OTHERWISE,
) -> None:
    """Raises UserError where work found under a name was begun with other settings; it says which,
    and the ``advice``."""
    # causes first
    for name in sorted(
        {*settings, *stored}, key=lambda name: (name in ("filters", "macs", "params"), name)
    ):
        new, old = settings.get(name), stored.get(name)
        grown = (
            name in may_grow
            and isinstance(new, (int, float))
            and isinstance(old, (int, float))
            and new >= old
        )
        if new != old and not grown:
            raise UserError(f"{path}: {work} with {name} = {old}, not {new}; {advice}")


# --- on what it was run ---------------------------------------------------------------------------


class Provenance(TypedDict):
    """The software and hardware that a number depends on."""

    versions: dict[str, str]
    threads: int
    commit: str | None


def provenance(device: str) -> Provenance:
    """Of what is running now."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()
    return {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "device": f"{device} ({name})",
        },
        "threads": torch.get_num_threads(),
        "commit": commit(),
    }


def processor() -> str:
    """The name of the processor, where Linux tells it, its kind, and which of its instructions
    PyTorch uses: with others, other last digits."""
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return ", ".join([*names[:1], platform.machine(), torch.backends.cpu.get_cpu_capability()])


@lru_cache(maxsize=1)
def commit() -> str | None:
    """The commit of the project that is running, with "-dirty" where files differ from it; None
    outside a checkout."""
    project = PUBLISHED_DIR.parents[1]
    try:
        asked = subprocess.run(
            [
                "git",
                f"--git-dir={project / '.git'}",
                f"--work-tree={project}",
                "describe",
                "--always",
                "--dirty",
                "--abbrev=40",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            timeout=10,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip() or None
