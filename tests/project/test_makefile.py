"""The Makefile's installation: killed anywhere, it mends itself at the next make; whole, it is left
alone.

A shell script stands for Python: its venv, pip and ruff leave and look for marks.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from running import REPOSITORY

PYTHON = r"""#!/bin/sh
lib=.venv/lib/$(cat version)
echo "$*" >> calls
stage() {  # $DO is done at the stage $STAGE
    if [ "$1" = "$STAGE" ]; then touch reached; eval "$DO"; fi
}
case "$*" in
    "-c import pip") test -d $lib/pip ;;
    "-m venv .venv")
        mkdir -p .venv/bin $lib; stage "empty venv"
        ln -sf "$BASE" .venv/bin/python; stage "venv without pip"
        mkdir -p $lib/pip; stage "half a pip"
        touch $lib/pip/whole; stage "venv without activate"
        touch .venv/bin/activate ;;
    "-m pip install -q -r "*)
        test -e $lib/pip/whole || { echo "No module named pip" >&2; exit 1; }
        for name in $(cat requirements.txt) $(grep -v ^- "$6"); do
            test ! -e $lib/$name.dist-info || continue  # already satisfied, it says
            mkdir -p $lib/$name; stage "half of $name"
            touch $lib/$name.dist-info; stage "$name said to be there"
            touch $lib/$name/whole
        done
        stage "all of $6" ;;
    "-m ruff check .")
        for name in pip torch ruff; do test -e $lib/$name/whole || { echo "$name is not whole"; exit 1; }; done
        test -e .venv/bin/activate && echo linted ;;
esac
"""
STAGES = [
    "empty venv",
    "venv without pip",
    "half a pip",
    "venv without activate",
    "half of torch",
    "torch said to be there",
    "all of requirements.txt",
    "half of ruff",
    "ruff said to be there",
    "all of requirements-dev.txt",
]
ALL_CALLS = [
    "-m venv .venv",
    "-m pip install -q -r requirements.txt",
    "-m pip install -q -r requirements-dev.txt",
]
WAIT = "while [ ! -e go ]; do sleep 0.01; done"
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def folder(tmp_path):
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    for name, content in {
        "requirements.txt": "torch",
        "requirements-dev.txt": "-r requirements.txt\nruff",
        "version": "3.11",
        "python": PYTHON,
    }.items():
        (tmp_path / name).write_text(content + "\n")
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def start(
    folder: Path, target: str, stage: str = "", do: str = "", base: str = "python"
) -> subprocess.Popen:
    base = folder / base
    return subprocess.Popen(
        ["make", target, f"PYTHON={base}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "BASE": str(base), "STAGE": stage, "DO": do, "MAKEFLAGS": ""},
        start_new_session=True,
    )


def make(
    folder: Path, target: str = "lint", stage: str = "", do: str = "", **options
) -> tuple[int, str]:
    """The exit status and the output of make."""
    with start(folder, target, stage, do, **options) as process:
        return process.wait(60), process.stdout.read()


def calls(folder: Path) -> list[str]:
    """What Python was asked to do since this was last asked."""
    log = folder / "calls"
    lines = log.read_text().splitlines()
    log.unlink()
    return [line for line in lines if line.startswith(("-m venv", "-m pip"))]


def assert_installed(folder: Path) -> None:
    status, out = make(folder)
    assert status == 0 and "linted" in out, out
    assert not (folder / ".venv.unfinished").exists()
    calls(folder)
    assert make(folder)[0] == 0 and calls(folder) == []  # nothing is left to do


def test_an_installation_is_made_once(folder):
    assert make(folder, "lint")[0] == 0
    assert calls(folder) == ALL_CALLS
    assert_installed(folder)


def test_the_tests_on_slurm_install_what_they_need_and_leave_a_slurm_that_is_there_alone(
    folder, monkeypatch
):
    (folder / "requirements-cluster.txt").write_text("-r requirements.txt\nsubmitit\n")
    for name, words in (("slurmctld", ""), ("apt-get", "touch installed")):
        (folder / name).write_text(f"#!/bin/sh\n{words}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert make(folder, "test-cluster")[0] == 0
    assert (
        "-m pytest tests/slurm" in (folder / "calls").read_text()
        and not (folder / "installed").exists()
    )
    assert calls(folder) == [*ALL_CALLS, "-m pip install -q -r requirements-cluster.txt"]


@pytest.mark.parametrize("killed", ["Python", "all", "make"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_installation_mends_itself(stage, killed, folder):
    if killed == "make":  # Python goes on for a while, and ends
        with start(folder, "lint", stage, WAIT) as process:
            while not (folder / "reached").exists():
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
            process.wait()
            (folder / "go").touch()
            process.stdout.read()  # to its end, which is that of the last who writes
    else:
        status, out = make(
            folder, "lint", stage, "kill -9 $$" if killed == "Python" else "kill -9 0"
        )
        assert status != 0 and "linted" not in out
    assert (folder / "reached").exists()
    assert_installed(folder)


@pytest.mark.parametrize("stage", STAGES[:4])
def test_a_venv_that_fails_is_made_again(stage, folder):
    assert make(folder, "lint", stage, "exit 1")[0] != 0
    assert_installed(folder)


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps, which knows the other make")
@pytest.mark.parametrize("stage", ["half a pip", "half of ruff"])
def test_of_two_makes_at_once_the_second_is_refused(stage, folder):
    with start(folder, "lint", stage, WAIT) as process:
        while not (folder / "reached").exists():
            assert process.poll() is None
            time.sleep(0.01)
        status, out = make(folder)
        (folder / "go").touch()
        assert (
            status != 0
            and f"another make, process {process.pid}, is installing" in out
            and "linted" not in out
        )
        assert process.wait(60) == 0 and "linted" in process.stdout.read()
    assert_installed(folder)


def test_a_venv_without_pip_that_an_earlier_version_left_is_made_again(folder):
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(folder / "python")
    assert_installed(folder)


def test_a_venv_whose_python_has_gone_is_made_and_filled_again(folder):
    assert make(folder)[0] == 0
    (folder / "python").rename(folder / "python3")
    assert not (folder / ".venv" / "bin" / "python").exists()
    calls(folder)
    status, out = make(folder, base="python3")
    assert status == 0 and "linted" in out, out
    assert calls(folder) == ALL_CALLS


def test_a_venv_whose_python_became_another_version_is_made_and_filled_again(folder):
    assert make(folder)[0] == 0
    (folder / "version").write_text("3.12\n")
    assert_installed(folder)


def test_a_whole_venv_is_left_as_it_is(folder):
    assert make(folder)[0] == 0
    mine = folder / ".venv" / "mine"
    mine.touch()
    for name in ("installed", "installed-dev"):  # as a user's own venv has it
        (folder / ".venv" / name).unlink()
    assert_installed(folder)
    assert mine.exists()


def test_a_pip_that_fails_by_itself_costs_nothing_of_what_is_installed(folder):
    assert make(folder)[0] == 0
    mine = folder / ".venv" / "mine"
    mine.touch()
    (folder / "requirements-dev.txt").write_text("-r requirements.txt\nruff\nmore\n")
    assert make(folder, "lint", "half of more", "exit 1")[0] != 0  # say, without a network
    assert make(folder, "clean")[0] == 0
    assert_installed(folder)
    assert mine.exists() and (folder / ".venv/lib/3.11/more/whole").exists()


def test_without_a_python_nothing_is_removed(folder):
    assert make(folder, "lint", "half of torch", "kill -9 $$")[0] != 0
    (folder / "python").chmod(0o644)
    status, out = make(folder)
    assert (
        status != 0
        and (folder / ".venv" / "bin" / "python").is_symlink()
        and (folder / ".venv.unfinished").exists()
    ), out
