"""The campaign for a GPU, benchmarks/gpu.py: at tiny sizes on the CPU, killed and gone on with, with
pieces that fail; and its loops on the stand-in for CUDA."""

import json
import os
import sys
import tarfile
import time
import zipfile
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from device import Device
from image_folders import write_images
from running import REPOSITORY, assert_refused, call, forked, raising
from torch.autograd import DeviceType

sys.path.insert(0, str(REPOSITORY / "benchmarks"))

from campaign import agreement, headline, pieces, scale, speed, store, table, waits
from campaign.looks import Rounds, waits_refused
from campaign.scene import Scene

from utils.training import loop
from utils.training.sgd import SGD

TINY = replace(scale.SMALL, models=("vgg",), workers=0, spell=0.01, ratios=(0.0625,))
NAMES = ["search vgg float32", "search vgg bfloat16", "train vgg float32", "train vgg bfloat16"]


def begin(command, log, environment):
    """Starts a job of part 3 as a copy of this process."""
    return forked(command, log, {**environment, "OMP_NUM_THREADS": "1"}, apart=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder with CIFAR10/, of made-up images."""
    root = tmp_path_factory.mktemp("images")
    write_images(root / "CIFAR10", [str(kind) for kind in range(10)], train=6, test=4)
    return root


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """One network at tiny sizes, and jobs that need not import anything."""
    monkeypatch.setitem(scale.SCALES, "small", TINY)
    monkeypatch.setattr(headline, "begin", begin)
    monkeypatch.setattr(headline, "POLL", 0.02)
    monkeypatch.setattr(sys, "path", list(sys.path))


def campaign(data, *options, minutes=5):
    return call(
        "benchmarks/gpu.py",
        *("--device", "cpu", "--small", "--minutes", minutes, "--data", data, *options),
    )


def facts_in(folder: Path, part: str) -> dict:
    return json.loads((folder / f"{part}.json").read_text())["pieces"]


@pytest.fixture
def scene(data, tmp_path) -> Scene:
    return Scene(TINY, "cpu", data, tmp_path / "work")


# --- a campaign -----------------------------------------------------------------------------------


def test_a_campaign_killed_between_pieces_goes_on_to_its_end(data, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"

    class Killed(BaseException):
        pass

    done = []
    do = pieces.do

    def die_at_the_third(piece, *rest):
        if len(done) == 2:
            raise Killed
        done.append(piece.name)
        return do(piece, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(pieces, "do", die_at_the_third)
        with pytest.raises(Killed):
            campaign(data, "--out", first)
    assert list(facts_in(first, "agreement")) == done == NAMES[:2]

    outcome = campaign(data, "--done", first, "--out", second)
    assert (outcome.status, outcome.err) == (0, ""), outcome.err
    assert "12 of 12 pieces are stored" in outcome.out and "0 of them failed" in outcome.out
    found = facts_in(second, "agreement")
    assert {name: found[name] for name in done} == facts_in(first, "agreement")

    # the CPU agrees with itself, killed or not; nothing was left out
    assert list(found) == [*NAMES, "steps vgg float32", "steps vgg bfloat16"]
    for name in NAMES[:2]:
        assert found[name]["search"]["first"] is found[name]["killed"]["first"] is None
        assert found[name]["search"]["rounds"][0] > 5
    for name in NAMES[2:]:
        curves = found[name]["training"]
        assert curves["cpu"] == curves["device"] == curves["again"]
        assert found[name]["pruning"]["cpu"] == found[name]["pruning"]["device"]
        assert max(found[name]["export"].values()) < 1e-5
    speeds = facts_in(second, "speed")["speed vgg 0.0625"]["float32"]
    assert all(speeds[kind] > 0 for kind in ("project", "plain", "resident", "eager"))
    assert speeds["captured"] is None
    results = facts_in(second, "headline")
    assert list(results) and all(len(facts) > 1 for facts in results.values())
    assert len(results["train uniform 0"]["test_acc"]) == 1
    assert len(results["search macs"]["iterations"]) == 1

    table = call("benchmarks/gpu.py", "--done", second, "--table")
    assert (table.status, table.err) == (0, "")
    for said in ("| vgg bfloat16 | all", "| uniform |", "88.18", "91.22", "90.60", "no CUDA"):
        assert said in table.out
    # few files, for they are carried about
    assert files_in(second) == ["agreement.json", "headline.json", "speed.json"]


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_piece_that_fails_is_a_line_and_is_tried_again_if_asked(data, tmp_path, monkeypatch):
    only = ("--only", "steps", "--out", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "steps", raising(RuntimeError("no kernel image is\navailable")))
        outcome = campaign(data, *only)
    assert outcome.status == 0 and outcome.out.count("failed, RuntimeError") == 2
    found = facts_in(tmp_path, "agreement")["steps vgg float32"]
    assert found["error"].startswith("RuntimeError: no kernel image is available (tests/")
    assert "no kernel image" in call("benchmarks/gpu.py", "--done", tmp_path, "--table").out

    assert ": stored" not in campaign(data, "--done", tmp_path, *only).out
    assert campaign(data, "--done", tmp_path, "--again", *only).out.count(": stored") == 2
    assert "error" not in facts_in(tmp_path, "agreement")["steps vgg float32"]


def test_nothing_is_begun_in_too_few_minutes(data, tmp_path):
    outcome = campaign(data, "--out", tmp_path / "out", minutes=0.05)
    assert outcome.status == 0 and "not begun" in outcome.out and "part 3: not begun" in outcome.out
    assert "0 of 12 pieces" in outcome.out and files_in(tmp_path / "out") == []


def test_what_was_measured_says_how_long_the_next_takes(tmp_path):
    known = store.Store(tmp_path, "small")
    [first, *_], device = pieces.pieces_of(TINY), "a GPU"
    assert pieces.expected(first, known, device) == pieces.MARGIN * first.guess
    known.keep("speed", "speed vgg 1", {"device": device, "guess": 10, "seconds": 20})
    assert pieces.expected(first, known, device) == 2 * pieces.MARGIN * first.guess
    known.keep("agreement", "search resnet18", {"device": device, "guess": 10, "seconds": 5})
    assert pieces.expected(first, known, device) == 0.5 * pieces.MARGIN * first.guess
    assert pieces.expected(first, known, "another") == pieces.MARGIN * first.guess


def test_a_piece_that_outruns_its_time_is_stopped_and_expected_to_take_longer(scene, tmp_path):
    known = store.Store(tmp_path, "small")
    slow = pieces.Piece("speed", "speed vgg 1", 0.1, lambda _: time.sleep(20))
    assert "ran out of time" in pieces.do(slow, scene, known, 0.3)
    facts = known.parts["speed"]["speed vgg 1"]
    assert not known.has("speed", "speed vgg 1")
    assert pieces.expected(slow, known, facts["device"]) > 0.3


@pytest.mark.parametrize(
    "options, naming",
    [
        (["--data", "nowhere", "--out", "out"], ["--data nowhere", "no such folder"]),
        (["--data", "empty", "--out", "out"], ["--data empty", "CIFAR10.zip"]),
        (["--data", "torn", "--out", "out"], ["CIFAR10.tar", "can't be unpacked"]),
        (["--data", "{data}", "--done", "nowhere", "--out", "out"], ["--done nowhere"]),
        (["--data", "{data}", "--done", "torn", "--out", "out"], ["--done torn", "CIFAR10.tar"]),
        (["--data", "{data}", "--done", "damaged", "--out", "out"], ["speed.json", "damaged"]),
        (["--data", "{data}", "--done", "other", "--out", "out"], ["speed.json", "--out"]),
        (["--data", "{data}", "--done", "full", "--out", "out"], ["full campaign", "--small"]),
        (["--data", "{data}", "--out", "full"], ["--out full", "--done full"]),
        (["--data", "{data}"], ["--out"]),
        (["--data", "{data}", "--out", "out", "--minutes", "0"], ["--minutes"]),
        (["--table"], ["--done"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_mistake_is_one_line(options, naming, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "torn", "damaged", "other", "full"):
        Path(name).mkdir()
    Path("torn/CIFAR10.tar").write_bytes(b"no archive" * 100)
    Path("damaged/speed.json").write_text('{"pieces": ')
    Path("other/speed.json").write_text('{"seconds": 3}')
    store.Store(Path("full"), "full").keep("speed", "speed vgg 1", {"error": "x"})
    options = [option.format(data=data) for option in options]
    assert_refused(call("benchmarks/gpu.py", "--device", "cpu", "--small", *options), *naming)


def test_a_cpu_is_not_sent_on_a_campaign_of_days(data, tmp_path):
    outcome = call(
        "benchmarks/gpu.py", *("--device", "cpu", "--data", data, "--out", tmp_path / "out")
    )
    assert_refused(outcome, "--small")


@pytest.mark.parametrize("kind", ["tar.xz", "zip of the inside"])
def test_images_come_from_an_archive(kind, data, tmp_path):
    from campaign import images

    if kind == "tar.xz":
        with tarfile.open(tmp_path / "CIFAR10.tar.xz", "w:xz") as archive:
            archive.add(data / "CIFAR10", "CIFAR10")
    else:
        with zipfile.ZipFile(tmp_path / "CIFAR10.zip", "w") as archive:
            for path in (data / "CIFAR10").rglob("*.png"):
                archive.write(path, path.relative_to(data / "CIFAR10"))
    with images.opened(images.find(tmp_path)) as root:
        assert len(list((root / "CIFAR10").rglob("*.png"))) == 100
    assert not root.exists()


# --- unfinished work ------------------------------------------------------------------------------


def test_a_training_that_time_stops_goes_on_from_its_checkpoint(data, tmp_path, monkeypatch):
    longer = replace(TINY, more=(*TINY.more[:-1], "60"), at_once=1, closing=0)
    kept = store.Store(tmp_path / "out", "small")
    [job] = [job for job in headline.jobs_of(Scene(longer, "cpu", data, tmp_path / "a"))][:1]

    def until_it_has_begun() -> float:
        return 0.0 if job.unfinished[0].exists() else 1.0

    headline.headline(Scene(longer, "cpu", data, tmp_path / "a"), kept, [job], until_it_has_begun)
    facts = kept.parts["headline"][job.name]
    assert 1 <= facts["unfinished"]["epochs"] < 60 and not kept.has("headline", job.name)
    assert files_in(tmp_path / "out") == ["headline.json", "unfinished-0.tar.gz"]

    # elsewhere, where only the store is
    again = store.Store.open(tmp_path / "next", tmp_path / "out", "small")
    scene = Scene(longer, "cpu", data, tmp_path / "b")
    [job, *_] = headline.jobs_of(scene)
    headline.headline(scene, again, [job], lambda: 100.0)
    assert "goes on at epoch" in job.log.read_text()
    assert again.parts["headline"][job.name]["epochs"] == 60
    assert files_in(tmp_path / "next") == ["headline.json"]


def test_unfinished_work_is_kept_in_few_small_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LARGEST", 1000)
    paths = [tmp_path / name for name in ("a", "b", "c", "huge")]
    for path, size in zip(paths, (600, 300, 600, 1001)):
        path.write_bytes(os.urandom(size))
    kept = store.Store(tmp_path / "out", "small")
    (tmp_path / "out").mkdir()
    assert kept.pack(tmp_path, paths) == paths[3:]
    assert [path.name[-8:] for path in store.archives(kept.out)] == ["0.tar.gz", "1.tar.gz"]
    kept.unpack(tmp_path / "back")
    assert [path.name for path in sorted((tmp_path / "back").iterdir())] == ["a", "b", "c"]
    kept.pack(tmp_path, [])
    assert store.archives(kept.out) == []


def test_a_job_that_fails_has_its_last_line_stored(data, tmp_path):
    scene, kept = Scene(TINY, "cpu", data, tmp_path / "work"), store.Store(tmp_path, "small")
    job = replace(headline.jobs_of(scene)[0], command=("ratio_swipe.py", "--save", "x"))
    headline.headline(scene, kept, [job], lambda: 100.0)
    assert "exit status 2: " in kept.parts["headline"][job.name]["error"]


# --- on the stand-in for CUDA ---------------------------------------------------------------------


@pytest.fixture
def cuda(scene):
    """The device, and the scene on it."""
    scene.device = "cuda"
    with Device() as device:
        yield device, scene


def test_part_1_on_cuda_agrees_with_the_cpu(cuda):
    _, scene = cuda
    found = agreement.search_agrees(scene, "vgg", False)
    assert found["search"]["first"] is found["killed"]["first"] is None
    assert len({*found["search"]["rounds"], *found["killed"]["rounds"]}) == 1
    found = agreement.training_agrees(scene, "vgg", False)
    assert found["training"]["cpu"] == found["training"]["device"]
    assert found["pruning"]["first"] is None and max(found["export"].values()) == 0
    assert waits.steps(scene, "vgg", False)["training"] == {"memory": None}
    assert scene.works()


def test_part_2_on_cuda(cuda):
    _, scene = cuda
    found = speed.speeds(scene, "vgg", 0.0625, loop_runner())
    assert all(found[kind] > 0 for kind in ("project", "resident", "plain", "eager")), found


def loop_runner():
    from utils.training.device import Runner

    return Runner("cuda")


@pytest.fixture
def refusing(cuda, monkeypatch):
    """The scene on a device that raises where PyTorch's debug mode would."""
    _, scene = cuda
    mode, wait = ["default"], Device.wait

    def refuse(self, why):
        if mode[0] == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        wait(self, why)

    monkeypatch.setattr(Device, "wait", refuse)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda name: mode.__setitem__(0, name))
    return scene


def works_of(scene: Scene):
    from utils.data import load_data

    data = load_data("CIFAR10", str(scene.data), "cuda", limit_train=40, limit_test=10)
    return {
        kind: lambda work=work: work(scene, "vgg", data, loop_runner())
        for kind, work in (("training", waits.one_training), ("search", waits.one_search))
    }


def test_no_step_waits_outside_of_pruning_rounds(refusing):
    for kind, work in works_of(refusing).items():
        found = waits.watched(work)
        assert found["steps"] >= 8 and found["waits"] == "", (kind, found)
    with waits_refused(), pytest.raises(RuntimeError, match="synchronizing"):
        torch.cuda.set_sync_debug_mode("error")
        torch.ones(1, device="cuda").item()


def test_a_step_that_waits_is_found_with_its_line(refusing, monkeypatch):
    step = SGD.step

    def waiting(self, closure=None):
        loop.torch.ones(1, device="cuda").item()
        return step(self, closure)

    monkeypatch.setattr(SGD, "step", waiting)
    found = waits.watched(works_of(refusing)["training"])
    assert (
        "synchronizing" in found["waits"]
        and "tests/benchmarks/test_gpu_campaign.py" in found["waits"]
    )


# --- what a GPU alone can do, pretended -----------------------------------------------------------


@pytest.fixture
def pretended(cuda, monkeypatch):
    """The scene on a GPU that can be asked for its memory, captures graphs and profiles."""
    _, scene = cuda

    class Graph:
        def replay(self):
            pass

    def event(name, microseconds, **more):
        span = SimpleNamespace(elapsed_us=lambda: microseconds)
        kind = more.pop("kind", DeviceType.CUDA)
        return SimpleNamespace(name=name, device_type=kind, time_range=span, **more)

    events = [
        event("conv", 300.0),
        event("norm", 100.0),
        event("Optimizer.step", 999.0, is_user_annotation=True),
        event("launch", 999.0, kind=DeviceType.CPU),
    ]

    @contextmanager
    def profile(activities):
        yield SimpleNamespace(events=lambda: events)

    stream = SimpleNamespace(wait_stream=lambda _: None)
    for name, value in {
        "is_available": lambda: True,
        "empty_cache": lambda: None,
        "reset_peak_memory_stats": lambda _: None,
        "max_memory_allocated": lambda _: 3 * 2**20,
        "set_sync_debug_mode": lambda _: None,
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda _: nullcontext(),
        "graph": lambda _: nullcontext(),
        "CUDAGraph": Graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.profiler, "profile", profile)
    return scene


def test_a_gpu_is_asked_for_memory_kernels_and_a_captured_step(pretended, monkeypatch):
    monkeypatch.setattr(speed, "plain", raising(RuntimeError("a worker was killed")))
    found = {"batch_size": 8, "float32": speed.speeds(pretended, "vgg", 0.0625, loop_runner())}
    kernels, captured = found["float32"]["kernels"], found["float32"]["captured"]
    assert (kernels["ms"], kernels["number"]) == (0.2, 1)
    assert kernels["longest"] == {"conv": 0.75, "norm": 0.25}
    assert captured["alone"] > found["float32"]["eager"]
    assert found["float32"]["plain"]["error"].startswith("RuntimeError: a worker was killed")

    parts = {"speed": {"speed vgg 0.25": {**found, "bfloat16": found["float32"]}}}
    steps = waits.steps(pretended, "vgg", False)
    assert steps["training"] == {"memory": 3 * 2**20, "steps": 8, "waits": ""}
    parts["agreement"] = {"steps vgg float32": steps}
    shown = table.table(parts)
    assert "times as fast as eager, over 1.3" in shown and "the host holds it up" in shown
    assert "| vgg float32 | 8 steps: none waits | 3 |" in shown


def test_the_verdict_says_whether_a_captured_step_is_worth_it():
    facts = {
        "project": 900,
        "eager": 1000,
        "captured": {"alone": 1200, "fed": 1100, "loss_differs_by": 0},
        "kernels": {"ms": 120, "number": 400, "longest": {}},
    }
    said = table.verdict(128, facts)
    assert "1.20 times as fast as eager, not over 1.3" in said and "1.22 times" in said
    assert "kernels fill 94% of an eager step: the GPU is busy" in said


def test_a_difference_is_told_by_its_first_round():
    one, other = Rounds(), Rounds()
    for number in (1, 2, 3):
        alive = torch.ones(6, dtype=torch.bool)
        one.add(number, alive, [2, 4])
        alive[3:5] = number < 2
        other.add(number, alive, [2, 4])
    found = agreement.difference(one, other)
    assert found["first"] == {"round": 2, "layer": 1, "filters": 2}
    assert table.agreed(found) == "1 of 3 rounds; then 2 filters, from layer 1 on"
