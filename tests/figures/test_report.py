"""The page of finished trainings: whole, alone, true to the results; and what scripts say of the
time that is left and of the command that comes next."""

import json
import re
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

from results import write_result
from running import DIGITS, ONCE, REPOSITORY, assert_refused, call, lasting, snapshot, succeed

from model import template, uniform_filters
from utils.settings import Places, Task
from utils.settings.commands import after_search, after_training
from utils.training import progress
from utils.training.loop import State
from utils.training.progress import in_notebook, time_told

VOID = {"meta", "img", "rect", "br"}


class Page(HTMLParser):
    """What stands in a page. Refuses tags that are not closed, and all that is loaded from
    elsewhere."""

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(path.read_text())
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert tag not in ("script", "link", "iframe", "object")
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action"):
                self.sources.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)

    def said(self, *tags: str) -> str:
        return "\n".join(text for tag in tags for text in self.text.get(tag, []))


# --- the page -------------------------------------------------------------------------------------


def test_a_page_stands_alone_and_says_what_the_results_say(here):
    for seed, best in ((0, 50.0), (1, 52.0)):
        write_result(f"u_{seed}", best, seed=seed)
        write_result(f"u_{seed}", best + 10, seed=seed, ratio=0.5)
    write_result("m_0", 57.0, ratio=0.5, method="magnitude", base="b")
    write_result("b", 60.0, ratio=1, method="base")
    before = snapshot(here)
    out = succeed("report.py", "--save", "u", "m")
    path = Path("saved_plots/vgg/digits_u_m_report.html")
    assert out.splitlines() == [f"wrote {path}"]
    assert {name for name in snapshot(here) if name not in before} == {str(path)}

    page = Page(path)
    assert page.sources and all(one.startswith("data:image/png;base64,") for one in page.sources)
    assert "http" not in re.sub(r"base64,[^\"]*", "", path.read_text())
    cells = page.said("td")
    for text in ("51.00 ± 1.41", "61.00 ± 1.41", "57.00", "-4.00", "579,786"):
        assert text in cells, text
    assert "4.00 points below uniform scaling at equal MACs" in page.said("p")
    assert page.tags.count("svg") == 3 and "features.0" in cells
    bars = [f"features.0: {uniform_filters('vgg', ratio)[0]} of 64" for ratio in (0.25, 0.5)]
    assert all(said in page.said("title") for said in bars)
    assert page.tags.count("rect") == 3 * 2 * len(template("vgg"))
    assert [heading.strip() for heading in page.text["h2"]] == [
        "What was asked",
        "Results",
        "Pictures",
        "Filters of each layer",
        "How to repeat it",
    ]


def test_what_it_says_is_escaped(here, monkeypatch):
    odd = here / "a<b>&c"
    odd.mkdir()
    write_result("u_0", 50.0, dataset="digits", commit='<script>alert("x")</script>')
    succeed("report.py", "--save", "u", "--plot-dir", "saved_plots", "--out", odd / "p.html")
    page = Page(odd / "p.html")
    assert "script" not in page.tags and '<script>alert("x")</script>' in page.said("td")


def test_differences_to_uniform_networks_are_shown_where_there_are_some(here):
    write_result("m_0", 57.0)
    succeed("report.py", "--save", "m")
    alone = Page(Path("saved_plots/vgg/digits_m_report.html"))
    write_result("u_0", 50.0, method="uniform")
    write_result("m_0", 57.0, method="magnitude", base="b")
    write_result("b", 60.0, ratio=1, method="base")
    succeed("report.py", "--save", "u", "m")
    beside = Page(Path("saved_plots/vgg/digits_u_m_report.html"))
    assert "seeds" in alone.said("th") and "seeds" in beside.said("th")
    assert ["equal MACs" in page.said("th") for page in (alone, beside)] == [False, True]
    assert ["percentage points" in page.said("p") for page in (alone, beside)] == [False, True]


def test_a_page_is_of_what_is_there(here):
    write_result("u_0", 50.0)
    assert_refused(call("report.py", "--save", "x"), "x_<ratio>.json")
    assert_refused(call("report.py", "--save", "u", "--dataset", "CIFAR10"), "digits, not CIFAR10")
    assert_refused(call("report.py", "--save", "../u"), "no slash")
    assert not list(Path("saved_plots").rglob("*.html"))
    write_result("v_0", 50.0, dataset="CIFAR10")
    assert_refused(call("report.py", "--save", "u", "v"), "CIFAR10")


def test_the_commands_of_a_page_make_the_same_results(here):
    """Searched, swept by ratio and target, pruned: what the page says, typed elsewhere, gives the
    same numbers."""
    folder = ["--record-dir", "prune_record"]
    search = [*DIGITS, "--ratio", 0.0625, "--epochs", 3, "--warmup", 0, "--prune-every", 1]
    succeed("architecture_descent.py", "--save", "s", "--iterations", 1, *search, *folder)
    sweep = ["ratio_swipe.py", "--save", "n_3", "--prune-fname", "s", *ONCE]
    succeed(*sweep, "--ratios", 0.0625, 0.125)
    succeed(*sweep, "--target", "200k", "--min-width", 3, "--seed", 5)
    succeed("train_norm.py", "--save", "b", "--ratio", 0.125, *ONCE)
    succeed("fine_tune.py", "--save", "t_0", "--prune-fname", "b", "--ratio", 0.0625, *ONCE)
    succeed("report.py", "--save", "n_3", "t")
    [page] = Path("saved_plots/vgg").glob("*.html")
    [commands] = re.findall(r"<pre>(python3 architecture.*?)</pre>", page.read_text(), re.DOTALL)

    first = {path: json.loads(path.read_text()) for path in Path("saved_plots").rglob("*.json")}
    Path("saved_plots").rename("before")
    Path("prune_record").rename("record_before")
    Path("saved_models").rename("models_before")
    for line in commands.splitlines():
        script, *options = shlex.split(line)[1:]
        succeed(script, *options)
    again = {path: json.loads(path.read_text()) for path in Path("saved_plots").rglob("*.json")}
    assert len(first) == 5 and lasting(list(again.values())) == lasting(
        [first[path] for path in again]
    )
    assert {*again} == {*first}


def test_submit_writes_the_page_at_its_end(here, forking):
    out = succeed(
        "submit.py", "--dataset", "digits", "--methods", "uniform", "--seeds", 0, "--ratios", 0.0625,
        "--limit-train", 100, "--limit-test", 50, "--train-with", "epochs=1", "batch-size=50",
        "--jobs", 2,
    )  # fmt: skip
    assert "wrote saved_plots/vgg/digits_report.html" in out
    page = Page(Path("saved_plots/vgg/digits_report.html"))
    assert "submit.py" in page.said("pre") and "vgg_uni_digits_0" in page.said("pre")


# --- what comes next ------------------------------------------------------------------------------


def test_a_search_and_its_trainings_say_what_comes_next(here):
    """What is printed is typed as it stands, from the first command to the last."""
    elsewhere = ["--plot-dir", "my plots", "--record-dir", "records"]
    search = [*DIGITS, "--ratio", 0.0625, "--epochs", 3, "--warmup", 0, "--prune-every", 1]
    out = succeed("architecture_descent.py", "--save", "s", "--iterations", 1, *search, *elsewhere)
    listing, sweep = commands_in(out)
    assert listing[0] == "list_architecture.py" and sweep[0] == "ratio_swipe.py"
    succeed(*listing)
    out = succeed(*sweep, *DIGITS[2:], "--epochs", 1, "--target", "2%", "200k")
    plotting, export = commands_in(out)
    succeed(*plotting)
    assert export[:1] == ["export.py"] and "--target" in export and "params" in export
    out = succeed("train_norm.py", "--save", "b", "--ratio", 0.125, *ONCE)
    [tune] = commands_in(out)
    out = succeed(*tune, *DIGITS[2:], "--epochs", 1, "--ratio", 0.0625)
    assert [command[0] for command in commands_in(out)] == ["plot_ratio.py", "export.py"]


def commands_in(out: str) -> list[list[str]]:
    return [shlex.split(line)[2:] for line in out.splitlines() if line.startswith("next: python3 ")]


def test_the_next_command_has_the_folders_that_are_not_the_usual_ones():
    places = Places(record_dir="r", data="d", model_dir="m")
    [listing, sweep] = after_search(Task(dataset="tinyimagenet"), "s", True, places)
    assert (
        "--data d" not in listing and "--record-dir r" in listing and "--model-dir" not in listing
    )
    assert (
        sweep.startswith("python3 imagenet_ratio_swipe.py") and "--morph --prune-fname s" in sweep
    )
    assert all(option in sweep for option in ("--data d", "--record-dir r", "--model-dir m"))
    [_, export] = after_training(Task(), "n_0", ["--ratio", "0.5"], places)
    assert export.endswith("--save n_0 --ratio 0.5 --record-dir r --model-dir m")


# --- the time that is left ------------------------------------------------------------------------


def test_epochs_say_how_long_they_take_and_what_is_left(here):
    out = succeed("ratio_swipe.py", "--uniform", "--save", "u", "--ratios", 0.0625, *DIGITS,
                  "--epochs", 3)  # fmt: skip
    left = re.findall(r"^  \d+\.\d s an epoch, about (\d\d):(\d\d) left$", out, re.MULTILINE)
    assert len(left) == 2  # none after the last


def test_a_search_says_the_most_that_is_left_of_an_iteration(here):
    out = succeed(
        "architecture_descent.py", "--save", "s", "--iterations", 1, *DIGITS, "--batch-size", 20,
        "--ratio", 0.0625, "--warmup", 1, "--prune-every", 2, "--prune-step", 5, "--min-width", 2,
    )  # fmt: skip
    epochs = len(re.findall(r"epoch \d+: loss", out))
    assert 2 < epochs < 30 and out.count("left in this iteration") == epochs - 1


def test_the_time_is_told_in_words():
    assert time_told(61.25, 60, "about {} left") == "61.2 s an epoch, about 1:01:15 left"
    assert State.left_told.fget(None) == "about {} left"


def test_a_notebook_shows_bars(monkeypatch):
    assert not in_notebook()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook()
    bar = progress.Progress("epoch 0", 4)
    assert bar.bar is not None and progress.tqdm.__module__.startswith("tqdm.")
    assert "tqdm.auto" in (REPOSITORY / "utils/training/progress.py").read_text()
    bar.close("loss 1")


def test_the_page_of_a_pruning_says_what_the_network_was(here):
    succeed("train_norm.py", "--save", "b", "--ratio", 0.125, *ONCE)
    out = succeed(
        "prune.py", "--save", "k_0", "--weights", "saved_models/vgg/b.pt", "--target", "50%", *ONCE
    )
    page = Page(Path("saved_plots/vgg/digits_k_0_report.html"))
    result = json.loads(Path("saved_plots/vgg/k_0_50pct-macs.json").read_text())
    assert f"{result['before']['test_acc']:.2f}" in page.said("td")
    assert "as it came" in page.said("td") and f"{result['params']:,}" in page.said("td")
    assert "prune.py --save k_0" in page.said("pre") and "--criterion taylor" in page.said("pre")
    assert [command[0] for command in commands_in(out)] == ["plot_ratio.py", "export.py"]
