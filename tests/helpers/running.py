"""Runs the project's scripts for the tests: inside this process, where torch is loaded already, or
as real ones."""

import contextlib
import gc
import io
import json
import os
import resource
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
import torch

from utils.errors import UserError
from utils.experiment.work import BEGAN, deaf, note
from utils.training import progress

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path.name for path in REPOSITORY.glob("*.py"))
SOURCES = sorted(
    path for folder in ("model", "utils") for path in (REPOSITORY / folder).rglob("*.py")
) + [REPOSITORY / script for script in SCRIPTS]
DIGITS = ["--dataset", "digits", "--limit-train", "100", "--limit-test", "50", "--batch-size", "50"]
ONCE = [*DIGITS, "--epochs", 1]
# an experiment on few digits, whose batch sizes are said apart
EXPERIMENT = ["--model", "vgg", "--dataset", "digits", "--limit-train", 100, "--limit-test", 50]
CHANGING = ("seconds", "versions", "commit")  # what two runs of one thing may differ in


class Outcome(NamedTuple):
    """The end of a script: its exit status, what it printed, what it complained of."""

    status: int
    out: str
    err: str


def call(script: str, *args) -> Outcome:
    """Runs a script as __main__ in this process and in the current folder. What it does not handle
    is raised here."""
    out, err = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, [str(REPOSITORY / script), *map(str, args)]
    handlers = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest's workers ignore it
    status = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), usual_warnings():
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.argv = argv
        for which, handler in handlers.items():
            signal.signal(which, handler)
    return Outcome(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def usual_warnings():
    """Warnings are printed as Python does it by itself: a second line on stderr is one too many."""

    def show(message, category, filename, lineno, file=None, line=None):
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))

    with warnings.catch_warnings():
        warnings.resetwarnings()
        for category in (
            DeprecationWarning,
            PendingDeprecationWarning,
            ImportWarning,
            ResourceWarning,
        ):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        yield


def succeed(script: str, *args) -> str:
    """Run a script that must end well; return what it prints."""
    outcome = call(script, *args)
    assert (outcome.status, outcome.err) == (0, ""), f"{script}: {outcome.err}"
    return outcome.out


def start(
    script: str,
    *args,
    cwd=REPOSITORY,
    largest_file: int | None = None,
    env: dict[str, str] | None = None,
    fresh: bool = False,
    **options,
) -> subprocess.Popen:
    """Starts a script as a process of its own, on one thread; with ``largest_file``, on a disk that
    is full from there.

    It is a copy of this process, in which torch is loaded already; or, if ``fresh``, a new Python,
    for what is about its start. ``env`` comes on top of this process's environment.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    command = [str(REPOSITORY / script), *map(str, args)]

    def prepare() -> None:
        # pytest's workers ignore it, and what they start
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        if not fresh:
            become(command, environment)

    return subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
        preexec_fn=prepare,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def alone(path, *args, cwd) -> Outcome:
    """A file of Python as a script, to its end, where nothing of this project can be imported: in a
    copy of this process, where torch is loaded."""

    def prepare() -> None:
        for module in list(sys.modules):
            if module.split(".")[0] in ("model", "utils", "network"):
                del sys.modules[module]
        tests = REPOSITORY / "tests"  # pytest adds folders of it
        sys.path[:] = [
            path
            for path in sys.path
            if (place := Path(path).resolve()) != REPOSITORY and not place.is_relative_to(tests)
        ]
        sys.dont_write_bytecode = True
        become([str(path), *map(str, args)], {**os.environ, "OMP_NUM_THREADS": "1"})

    ran = subprocess.run(
        [sys.executable, path],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=prepare,
    )
    return Outcome(ran.returncode, ran.stdout, ran.stderr)


def alone_in_a_fork(arguments: list[str], place: str, name: str) -> str:
    """Run a piece of Python source as ``utils.export.compare`` asks for it; return what it prints."""
    (Path(place) / "source.py").write_text(arguments[0])
    ran = alone("source.py", *arguments[1:], cwd=place)
    if ran.status:
        last = (ran.err.strip().splitlines() or [f"it ended with {ran.status}"])[-1]
        raise UserError(f"{name} can't be run: {last[:200]}; nothing was exported")
    return ran.out


def become(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Makes a fork of this process, whose standard streams are set, one that runs a script: it never
    returns, so that Popen starts no other program there."""
    status = 1
    try:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # Popen waits for one of them to be closed
        gc.enable()
        torch.set_grad_enabled(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # as a new Python does
            signal.signal(ignored, signal.SIG_IGN)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = command
        sys.path.insert(0, str(Path(command[0]).resolve().parent))
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
        sys.stderr = open(2, "w", buffering=1, closefd=False)
        with usual_warnings():
            try:
                runpy.run_path(command[0], run_name="__main__")
                status = 0
            except SystemExit as end:
                status = end.code or 0
                if not isinstance(status, int):
                    print(status, file=sys.stderr)
                    status = 1
            except BaseException:
                traceback.print_exc()
        if sys.stdout:  # None where its reader has gone
            try:
                sys.stdout.flush()
            except OSError:
                status = 120  # as Python itself does
        sys.stderr.flush()
    finally:
        os._exit(status)


def run(script: str, *args, cwd=REPOSITORY, timeout: float = 120, **options) -> Outcome:
    """A script as a process of its own, to its end."""
    with start(script, *args, cwd=cwd, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Outcome(process.returncode, out, err)


def fork(script: str, *args, prepare=lambda: None) -> int:
    """The id of a process that runs a script from a copy of this one's memory, so that nothing has
    to be imported.

    ``prepare`` runs there first. Its exit status is the script's.
    """
    child = os.fork()
    if child == 0:
        try:
            prepare()
            os._exit(call(script, *args).status)
        finally:
            os._exit(99)
    return child


def forked(
    command: list[str], log: Path, environment: dict[str, str], *, apart: bool = False
) -> subprocess.Popen:
    """Starts a job as the program does, but as a copy of this process, where torch is loaded
    already."""
    log.parent.mkdir(parents=True, exist_ok=True)
    note(log, f"{BEGAN} {shlex.join(command)}")

    def prepare() -> None:
        deaf()
        become([str(REPOSITORY / command[0]), *command[1:]], {**os.environ, **environment})

    with log.open("a") as out:
        return subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=apart,
            preexec_fn=prepare,
        )


def wait_for(child: int) -> int:
    """The exit status of a forked process; minus the number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def assert_refused(outcome: Outcome, *naming) -> None:
    """Exit status 2 and one line on stderr, in which each of ``naming`` stands."""
    assert outcome.status == 2, (
        f"status {outcome.status}, not 2; {outcome.out[-300:]}{outcome.err[-300:]}"
    )
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert ": error: " in outcome.err and "Traceback" not in outcome.err, outcome.err
    for name in naming:
        assert str(name) in outcome.err, outcome.err


def refusal(function, *arguments, **options) -> str:
    """Return the one line with which a function refuses what a user gave."""
    with pytest.raises(UserError) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def stop_after(
    patch: pytest.MonkeyPatch, batches: int, which: signal.Signals = signal.SIGINT
) -> None:
    """The next run that trains so many batches gets the signal then; by default that of Ctrl-C."""
    update, seen = progress.Progress.update, 0

    def update_and_stop(self, numbers):
        nonlocal seen
        seen += 1
        if seen == batches:
            os.kill(os.getpid(), which)
        update(self, numbers)

    patch.setattr(progress.Progress, "update", update_and_stop)


def generator(seed: int) -> torch.Generator:
    """Return a source of random numbers of its own."""
    return torch.Generator().manual_seed(seed)


def raising(error: BaseException):
    """A function that raises ``error``, whatever it is called with."""

    def function(*_, **__):
        raise error

    return function


def take(source, folder) -> None:
    """Copy what is in one folder to another, over what is there."""
    shutil.copytree(source, folder, dirs_exist_ok=True)


def snapshot(folder) -> dict[str, bytes]:
    """Every file below a folder, but locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def lasting(content):
    """A record or result without what may differ between two runs of the same thing."""
    if isinstance(content, dict):
        return {key: lasting(value) for key, value in content.items() if key not in CHANGING}
    return [lasting(value) for value in content] if isinstance(content, list) else content


def everything(folder) -> dict[str, object]:
    """All that scripts left in a folder, file by file, such that == means equal to the last bit."""

    def content(path: Path):
        if path.suffix == ".json":
            return lasting(json.loads(path.read_text()))
        if path.suffix == ".html":
            return "a page, which says how long its runs took"
        if path.suffix == ".pt":
            return bits(torch.load(path, weights_only=True))
        return path.read_bytes()

    return {
        str(path.relative_to(folder)): content(path)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def bits(content):
    """Tensors as (dtype, shape, bytes), wherever they are in dicts and lists."""
    if isinstance(content, torch.Tensor):
        return str(content.dtype), tuple(content.shape), content.contiguous().numpy().tobytes()
    if isinstance(content, dict):
        return {key: bits(value) for key, value in content.items() if key not in CHANGING}
    return [bits(value) for value in content] if isinstance(content, (list, tuple)) else content
