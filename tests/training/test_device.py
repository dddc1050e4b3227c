"""The scripts on CUDA: no operation mixes devices, the numbers are the CPU's, and the host waits
only where it must."""

import contextlib
import json

import pytest
import torch
from device import Device, OnDevice
from running import DIGITS, assert_refused, call, everything, raising, succeed

from model import MODELS, build_model, prepare_filters, uniform_filters
from model.filters import SMALL_WIDTH
from model.graph.compaction import Compactor
from utils import pruning
from utils.data import evaluation_batches, load_data, rotate
from utils.data.memory import SHARE, room_for_images
from utils.training import progress
from utils.training.device import Runner, pick_device
from utils.training.latency import latency
from utils.training.loop import evaluate

SEARCH = [
    "architecture_descent.py",
    "--save",
    "run",
    *DIGITS,
    "--limit-train",
    32,
    "--batch-size",
    8,
    "--epochs",
    3,
    "--warmup",
    0,
    "--iterations",
    1,
    "--prune-every",
    1,
    "--prune-step",
    40,
    "--prune-fraction",
    0.9,
]
TRAINING = [
    "ratio_swipe.py",
    "--save",
    "run",
    *DIGITS,
    "--uniform",
    "--ratios",
    0.0625,
    "--epochs",
    3,
    "--limit-train",
    40,
    "--batch-size",
    20,
]
EPOCH_END, EVALUATION = 6, 2  # waits


class Killed(BaseException):
    """What no part of the program handles."""


class Watch:
    """Looks at every batch of the scripts that ``run``.

    ``batches`` has (the waits, pruning rounds, compactions) of each batch; ``between`` the waits
    before each epoch, but for those of checkpoints.
    """

    def __init__(self, monkeypatch):
        self.device, self.appointment = None, None
        self.rounds, self.cuts, self.batches, self.between = 0, 0, [], []
        begin, survivors, compact = progress.Progress.__init__, pruning.survivors, Compactor.compact

        def begin_epoch(*args):
            self.between.append(
                [wait for wait in self.waits() if not wait.startswith("torch.save")]
            )
            begin(*args)

        def end_batch(*_):
            self.batches.append((self.waits(), self.rounds, self.cuts))
            self.rounds = self.cuts = 0
            if self.appointment and self.appointment[0] == len(self.batches):
                self.appointment[1]()

        def count_round(*args):
            self.rounds += 1
            return survivors(*args)

        def count_cut(*args, **options):
            done = compact(*args, **options)
            self.cuts += done
            return done

        monkeypatch.setattr(progress.Progress, "__init__", begin_epoch)
        monkeypatch.setattr(progress.Progress, "update", end_batch)
        monkeypatch.setattr(pruning, "survivors", count_round)
        monkeypatch.setattr(Compactor, "compact", count_cut)

    def waits(self) -> list[str]:
        """Since the last call."""
        seen = list(self.device.waits) if self.device else []
        if self.device:
            self.device.waits.clear()
        return seen

    @contextlib.contextmanager
    def run(self, folder, device: Device | None = None, at=None):
        """For scripts in a folder and on a device; ``at`` has the number of a batch and what to do
        at its end."""
        folder.mkdir(exist_ok=True)
        self.device, self.appointment, self.batches, self.between = device, at, [], []
        with pytest.MonkeyPatch.context() as patch, device or contextlib.nullcontext():
            patch.chdir(folder)
            yield


@pytest.fixture
def watch(monkeypatch):
    return Watch(monkeypatch)


def kill():
    raise Killed


def assert_same_as_on_the_cpu(
    script: list, watch: Watch, tmp_path, batch: int
) -> list[tuple[list, list]]:
    """On the device the script is killed at a batch and resumed: what is left then, and at the end,
    is what the CPU left.

    Gives (batches, between), as watched, of the two parts.
    """
    there, cpu, cuda, parts = {}, tmp_path / "cpu", tmp_path / "cuda", []
    with watch.run(cpu, at=(batch, lambda: there.update(everything(cpu)))):
        succeed(*script, "--device", "cpu")
    assert len(watch.batches) > batch, f"ended before batch {batch}, the one to be killed at"
    with watch.run(cuda, Device(), (batch, kill)), pytest.raises(Killed):
        call(*script, "--device", "cuda")
    parts.append((watch.batches, watch.between))
    assert any(name.endswith(".pt") for name in there)
    assert everything(cuda) == there
    with watch.run(cuda, Device()):
        assert "goes on" in succeed(*script, "--device", "cuda", "--resume")
    parts.append((watch.batches, watch.between))
    assert everything(cuda) == everything(cpu)
    return parts


def broad(name: str) -> float:
    """A ratio at which every layer has so many filters in a search that no layer's last one ends it
    before the kill."""
    return next(
        ratio
        for ratio in (0.25, 0.5, 1, 2, 4)
        if min(prepare_filters(name, ratio, search=True)) >= SMALL_WIDTH
    )


@pytest.mark.parametrize(
    "name, options",
    # vgg is what the last two search
    [(name, []) for name in MODELS if name != "vgg"]
    + [("vgg", ["--no-compact"]), ("vgg", ["--budget", "macs"])],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "compacted",
)
def test_a_search_killed_and_resumed_on_cuda_is_the_one_on_the_cpu_and_a_round_waits_once(
    name, options, watch, tmp_path
):
    search = [*SEARCH, "--model", name, "--ratio", broad(name), *options]
    for batches, between in assert_same_as_on_the_cpu(search, watch, tmp_path, 7):
        compact = "--no-compact" not in options
        assert (
            sum(rounds for _, rounds, _ in batches) >= 5
            and any(cuts for *_, cuts in batches) == compact
        )
        for waits, rounds, _ in batches:
            assert len(waits) == rounds, waits
        assert all(len(waits) <= EPOCH_END for waits in between[1:]), between[1:]


@pytest.mark.parametrize("name", MODELS)
def test_a_training_killed_and_resumed_on_cuda_is_the_one_on_the_cpu_and_a_step_never_waits(
    name, watch, tmp_path
):
    for batches, between in assert_same_as_on_the_cpu(
        [*TRAINING, "--model", name], watch, tmp_path, 3
    ):
        assert len(batches) >= 3 and not any(waits for waits, *_ in batches), batches
        assert len(between) >= 2 and all(
            len(waits) <= EPOCH_END + EVALUATION for waits in between[1:]
        ), between[1:]


def test_the_magnitude_baseline_on_cuda_is_the_one_on_the_cpu(watch, tmp_path):
    for name, device in (("cpu", None), ("cuda", Device())):
        with watch.run(tmp_path / name, device):
            options = [*DIGITS, "--epochs", 1, "--device", name]
            succeed("train_norm.py", "--save", "base", "--ratio", 0.125, *options)
            succeed(
                "fine_tune.py",
                "--save",
                "run",
                "--prune-fname",
                "base",
                "--ratio",
                0.0625,
                *options,
            )
    assert everything(tmp_path / "cuda") == everything(tmp_path / "cpu")


def test_an_evaluation_waits_for_its_two_results_however_many_batches_it_has():
    with Device() as device:
        runner, data = Runner("cuda"), load_data("digits", "", "cuda", limit_test=40)
        network = runner.place(build_model("vgg", uniform_filters("vgg", 0.0625), **data.shape))
        device.waits.clear()
        evaluate(network, evaluation_batches(data, 8), runner)
        assert len(device.waits) == EVALUATION, device.waits


def test_rotation_and_the_measuring_of_latency_on_cuda():
    images, degrees = torch.rand(4, 3, 8, 8), torch.tensor([0.0, 10.0, -20.0, 90.0])
    with Device() as device:
        on_device = images.to("cuda"), degrees.to("cuda")
        device.waits.clear()
        turned = rotate(*on_device)
        assert not device.waits
        assert torch.equal(turned.cpu(), rotate(images, degrees))
        assert latency(build_model("vgg", uniform_filters("vgg", 0.0625)), 32, Runner("cuda")) > 0


# --- of several GPUs, the one that is meant -------------------------------------------------------


def sweep_on_the_second_gpu(tmp_path, *options, memory: int = 2**40):
    with pytest.MonkeyPatch.context() as patch, Device(1, memory):
        patch.chdir(tmp_path)
        return call(*TRAINING, *options, "--device", "cuda:1")


def test_the_memory_and_the_name_are_those_of_the_gpu_that_is_meant(tmp_path):
    """The first GPU of the test device has no memory, and is called another."""
    assert sweep_on_the_second_gpu(tmp_path, "--epochs", 1, "--round-to", 2).status == 0
    result = json.loads((tmp_path / "saved_plots/vgg/run_6.json").read_text())
    assert result["versions"]["device"] == "cuda:1 (computed on the CPU)"


def test_a_network_that_the_gpu_that_is_meant_cannot_hold_is_refused(tmp_path):
    assert_refused(
        sweep_on_the_second_gpu(tmp_path, memory=2**18), "parameters", "Use a smaller ratio"
    )


def test_a_folder_of_images_is_read_for_the_gpu_that_is_meant():
    with Device(1):
        assert room_for_images("cuda:1") > 0
    with Device(1, memory=4096):
        assert room_for_images("cuda:1") == 4096 // SHARE


def test_a_full_gpu_is_out_of_memory_and_not_one_that_is_not_there(monkeypatch):
    monkeypatch.setattr(
        torch,
        "zeros",
        raising(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")),
    )
    with pytest.raises(torch.cuda.OutOfMemoryError):
        pick_device("cuda:1")


# --- the device itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "waits, work",
    [
        (1, lambda x: x.sum().item()),
        (1, lambda x: x.tolist()),
        (1, lambda x: bool(x.any())),
        (1, lambda x: int(x[0])),
        (1, lambda x: x.cpu()),
        (1, lambda x: torch.zeros(4).copy_(x)),
        (1, lambda x: x.nonzero()),
        (1, lambda x: x[x > 0]),
        (1, lambda x: x.masked_select(x > 0)),
        (1, lambda x: x.unique()),
        (1, lambda x: torch.equal(x, x)),
        (1, lambda x: torch.ones(4).to("cuda")),
        (1, lambda x: torch.tensor([1.0, 2.0], device="cuda")),
        (1, lambda x: x[torch.tensor([0, 1])]),
        (1, lambda x: x.copy_(torch.ones(4))),
        (1, lambda x: torch.cuda.synchronize()),
        (0, lambda x: torch.ones(4).to("cuda", non_blocking=True)),
        (0, lambda x: (2 * x + 1).square_().sum()),
        (0, lambda x: x + torch.tensor(1.0)),
        (0, lambda x: x[x.long()] + x.topk(2).values[0]),
        (0, lambda x: torch.where(x > 0, 1, x)),
        (0, lambda x: x.__setitem__(x > 0, 5.0)),
        (0, lambda x: x.__setitem__(slice(2), 5.0)),
        (0, lambda x: torch.full((), -1.0, device=x.device).add_(x.sum())),
    ],
)
def test_the_device_knows_what_the_host_waits_for(waits, work):
    with Device() as device:
        x = torch.arange(4.0).to("cuda")
        assert (str(x.device), x.is_cuda, x.is_cpu, device.copies) == ("cuda:0", True, False, 1)
        device.waits.clear()
        work(x)
        assert len(device.waits) == waits, device.waits


@pytest.mark.parametrize(
    "work",
    [
        lambda x, y: x + y,
        lambda x, y: y.add_(x),
        lambda x, y: torch.zeros(()).add_(x.sum()),
        lambda x, y: torch.cat([x, y]),
        lambda x, y: torch.stack([x.sum(), y.sum()]),
        lambda x, y: x.index_select(0, y.long()),
        lambda x, y: y[x.long()],
        lambda x, y: x.gather(0, y.long()),
        lambda x, y: x.dot(y),
        lambda x, y: torch._foreach_add_([x], [y]),
        lambda x, y: torch.randperm(4, generator=torch.Generator(), device="cuda"),
    ],
)
def test_the_device_refuses_what_mixes_devices(work):
    with Device(), pytest.raises(RuntimeError, match=r"same device|Expected a 'cuda' device"):
        work(torch.ones(4, device="cuda"), torch.ones(4))


def test_the_device_gives_back_no_numbers_unasked_and_trains_like_the_cpu():
    def trained(device: str) -> list:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2).to(device)
        optimizer = torch.optim.SGD(layer.parameters(), 0.1, 0.9, foreach=True)
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.ones(4, 3, device=device)).relu_().square().sum().backward()
            optimizer.step()
        return [parameter.tolist() for parameter in layer.parameters()]

    with Device():
        x = torch.ones(2, device="cuda")
        assert isinstance(x, OnDevice)
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()
        assert trained("cuda") == trained("cpu")
    with pytest.raises(RuntimeError, match="gone"):
        x + 1
