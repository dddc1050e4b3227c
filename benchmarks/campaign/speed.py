"""Part 2: where the time of a training step goes, and how far the project is from other loops and
from the limit, the same step as one CUDA graph."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count

import torch
from steps import OPTIMIZATION, full_batches, plain_step, uniform_network
from torch import Tensor

from campaign.loaders import Batch, plain_batches, resident_batches
from campaign.scale import formats
from campaign.scene import Scene
from campaign.store import Facts
from campaign.waits import line_of
from utils.data import training_batches
from utils.training.device import Runner
from utils.training.latency import synchronize
from utils.training.loop import Totals, sgd, training_step

WARMUP = 5  # steps, in which cuDNN chooses its algorithms
SEEN = 5  # kernels in the list of the longest
SAME = 10  # steps after which the captured step's loss is compared with the eager one's

Step = Callable[[], object]


def speed(scene: Scene, model: str, ratio: float) -> Facts:
    """Return the speed of every kind of loop for one network, in both number formats."""
    facts: Facts = {"batch_size": scene.scale.step_batch}
    for name, amp in formats().items():
        facts[name] = speeds(scene, model, ratio, Runner(scene.device, amp))
    return facts


def speeds(scene: Scene, model: str, ratio: float, runner: Runner) -> Facts:
    """Return images per second by kinds of loop, and what a step's time is made of."""
    scale, data, size = scene.scale, scene.images(), scene.scale.step_batch

    def rate(step: Step) -> float:
        return size / seconds(step, runner, scale.spell)

    # the project's own loop, on its own batches, on others', and on one batch
    own, fixed = batches_of(scene), next(batches_of(scene))
    other = resident_batches(data, size)
    facts: Facts = {
        "project": rate(loop(training(scene, model, ratio, runner), own, runner)),
        "resident": rate(loop(training(scene, model, ratio, runner), other, runner)),
    }
    eager = training(scene, model, ratio, runner)
    facts["eager"] = rate(lambda: eager(*fixed))

    # the limit, and the kernels
    facts["captured"] = facts["kernels"] = None
    if scene.on_gpu:
        facts["captured"] = attempt(lambda: limits(scene, model, ratio, runner, rate))
        facts["kernels"] = attempt(lambda: kernels(lambda: eager(*fixed), runner, scale.profiled))

    # last: a thread of its loader would disturb the capture of a graph
    facts["plain"] = attempt(lambda: rate(plain(scene, model, ratio, runner)))
    return facts


def attempt(work: Callable[[], object]) -> object:
    """Return what ``work`` gives, or its error in a line: the rest is worth keeping."""
    try:
        return work()
    except Exception as error:
        return {"error": line_of(error)}


def batches_of(scene: Scene) -> Iterator[Batch]:
    """Yield the project's batches."""
    return full_batches(training_batches(scene.images(), scene.scale.step_batch))


def training(scene: Scene, model: str, ratio: float, runner: Runner) -> Callable[..., Batch]:
    """Return the project's training step of a new network, as a function of a batch."""
    network = runner.place(uniform_network(model, ratio, scene.images()))
    optimizer = sgd(network, *OPTIMIZATION)
    return lambda images, labels: training_step(network, optimizer, images, labels, runner)


def loop(step: Callable[..., Batch], batches: Iterator[Batch], runner: Runner) -> Step:
    """Return one turn of the project's training loop."""
    totals = Totals(runner.device)

    def turn() -> None:
        images, labels = next(batches)
        totals.add(*step(images, labels), labels)

    return turn


def plain(scene: Scene, model: str, ratio: float, runner: Runner) -> Step:
    """Return one turn of a plain PyTorch loop, with a DataLoader."""
    data, scale = scene.images(), scene.scale
    batches = plain_batches(data, scale.step_batch, scale.workers, scene.device)
    return plain_step(uniform_network(model, ratio, data), batches, runner)


def seconds(step: Step, runner: Runner, spell: float) -> float:
    """Return the seconds of a step, the mean over at least ``spell`` seconds."""
    for _ in range(WARMUP):
        step()
    synchronize(runner)
    began = time.perf_counter()
    for number in count(1):
        step()
        if time.perf_counter() - began >= spell:
            synchronize(runner)  # the host may be ahead
            return (time.perf_counter() - began) / number
    raise AssertionError


# --- the limit ------------------------------------------------------------------------------------


def limits(
    scene: Scene, model: str, ratio: float, runner: Runner, rate: Callable[[Step], float]
) -> Facts:
    """Return the speed of the same step as a CUDA graph: on one batch, which is the limit, and on
    the project's batches, copied to where the graph reads."""
    eager, fixed = training(scene, model, ratio, runner), next(batches_of(scene))
    graph = Captured(training(scene, model, ratio, runner), *fixed)

    # does it compute the same?
    for _ in range(SAME):
        graph.replay()
    for _ in range(WARMUP + SAME):
        expected, _ = eager(*fixed)
    difference = abs(graph.loss.item() - expected.item()) / abs(expected.item())

    own = batches_of(scene)

    def fed() -> None:
        graph.fill(*next(own))
        graph.replay()

    return {"alone": rate(graph.replay), "fed": rate(fed), "loss_differs_by": difference}


class Captured:
    """A training step as a CUDA graph, on a batch of its own.

    WARMUP steps are taken before, on a stream of their own, as PyTorch asks for. The step is kept:
    the graph works on the memory of its network.
    """

    def __init__(self, step: Callable[..., Batch], images: Tensor, labels: Tensor):
        self.step, self.images, self.labels = step, images.clone(), labels.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP):
                step(self.images, self.labels)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss, _ = step(self.images, self.labels)

    def fill(self, images: Tensor, labels: Tensor) -> None:
        """Copy a batch to where the graph reads it."""
        self.images.copy_(images)
        self.labels.copy_(labels)

    def replay(self) -> None:
        """Take the step."""
        self.graph.replay()


def kernels(step: Step, runner: Runner, steps: int) -> Facts:
    """Return the milliseconds of a step in which kernels ran, their number, and the longest."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    # of the device alone: what the host does is slower while it is recorded
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            step()
        synchronize(runner)
    spent, number = Counter[str](), 0
    for event in profiler.events():
        if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False):
            spent[event.name] += event.time_range.elapsed_us()
            number += 1
    total = sum(spent.values())
    if not total:
        raise RuntimeError("the profiler saw no kernels")
    longest = {name[:60]: round(time / total, 3) for name, time in spent.most_common(SEEN)}
    return {"ms": total / 1000 / steps, "number": number / steps, "longest": longest}
