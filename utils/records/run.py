"""One piece of work under one name: the files it locks, the checkpoint it continues from, and the
files it must not touch."""

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

# everything that a piece of work depends on, as in its checkpoint, its weights and its result
Begun = dict[str, Any]
OTHERWISE = "give that, another --save, or --overwrite"  # if a name has work of other settings


class Run:
    """A piece of work that ends with the file ``result``, and until then has its state in
    ``checkpoint``.

    ``weights`` is stored beside the result. All of its files are locked while it works; the lock of
    the checkpoint holds for the weights too, which share its folder and name.
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
        self.begun_with: Begun = {}  # everything this run depends on, once its data are known
        # the values that stored work is taken to have had where it has none
        self.defaults = defaults
        self.address = address(result, checkpoint)

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the run's files for this process. Raises UserError while another process has one."""
        return exclusive(self.result, self.checkpoint)

    def discard(self) -> None:
        """Remove everything that is stored under this name, for --overwrite."""
        for path in (self.result, self.checkpoint, self.weights):
            if path:
                path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint."""
        write_tensors(
            self.checkpoint, {"begun_with": self.begun_with, "result": self.address, **state}
        )

    def restore(
        self,
        load: Callable[[dict[str, Any]], None],
        is_over: Callable[[Begun], bool] = lambda _: False,
    ) -> bool:
        """Pass the checkpoint, if there is one, to ``load``.

        Returns False if there is none, or if its work ``is_over``. Raises UserError without
        --resume, and for a checkpoint that this run can't continue from.
        """
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
                f"{self.checkpoint}: the unfinished work of {self.checkpoint.parent / str(other)}; "
                "finish that, choose another --save or --model-dir, or --overwrite"
            )
        return restore(self.checkpoint, self.begun_with, load, self.defaults, is_over)

    def refuse_others_weights(self) -> None:
        """Raise UserError if the weights that would be replaced are of another training."""
        if self.weights and self.weights.exists():
            stored = read_tensors(self.weights).get("begun_with")
            if stored is None:
                raise UserError(
                    f"{self.weights}: weights of another run, whose settings they don't say; "
                    "choose another --save or --model-dir, or --overwrite"
                )
            same_settings(self.weights, self.begun_with, {**self.defaults, **stored})

    def forget_own_checkpoint(self, is_over: Callable[[Begun], bool] = lambda _: True) -> None:
        """Remove a checkpoint that remained when this run ended. One of a run with another result
        stays."""
        # without a checkpoint, or with a damaged one, nothing needs to be done
        with contextlib.suppress(UserError, KeyError, TypeError):
            saved = read_tensors(self.checkpoint)
            if saved.get("result") == self.address and is_over(saved["begun_with"]):
                self.checkpoint.unlink(missing_ok=True)


def address(result: Path, checkpoint: Path) -> str:
    """Return the path of a result from its checkpoint.

    It stays the same when both are moved together, and through any link.
    """
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
    """Pass the content of ``path`` to ``load``, if it was begun with ``begun_with``.

    Returns False if its work ``is_over``. Raises UserError, with different messages for a damaged
    file, for one of other settings, and for one of another network.
    """
    saved, hint = read_tensors(path), "--overwrite begins anew"
    stored = load_checked(path, lambda: dict(saved["begun_with"]), hint)
    if load_checked(path, lambda: is_over(stored), hint):
        return False
    same_settings(path, begun_with, {**defaults, **stored})
    load_checked(path, lambda: load(saved), hint)
    return True


T = TypeVar("T")


def load_checked(path: Path, load: Callable[[], T], hint: str) -> T:
    """Return the result of ``load``, which reads the content of ``path``.

    Raises UserError, with different messages for damage and for another network.
    """
    try:
        return load()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise UserError(f"{path}: damaged ({type(error).__name__}: {error}); {hint}") from None
    except RuntimeError as error:  # torch raises it where shapes or names of weights don't fit
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
    """Raise UserError if stored work was begun with other settings.

    The message has the setting and the ``advice``. Settings in ``may_grow`` may be larger now.
    """
    # causes before effects
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


# --- software and hardware -----------------------------------------------------------------------


class Provenance(TypedDict):
    """The software and hardware that a number depends on."""

    versions: dict[str, str]
    threads: int
    commit: str | None


def provenance(device: str) -> Provenance:
    """Return the software and hardware that is running now."""
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
    """Return the processor's name, where Linux has it, its architecture, and the instructions that
    PyTorch uses on it: with others, the last digits of results differ."""
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return ", ".join([*names[:1], platform.machine(), torch.backends.cpu.get_cpu_capability()])


@lru_cache(maxsize=1)
def commit() -> str | None:
    """Return the commit of the running project, with "-dirty" if files differ from it; None outside
    a checkout."""
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
