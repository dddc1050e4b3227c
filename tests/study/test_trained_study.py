"""The second study, of networks trained to the end: its plan, and what it makes of results."""

import json
import math
import re
from dataclasses import replace
from statistics import fmean

import pytest
from pictures import assert_is_a_picture
from results import shape_of
from running import REPOSITORY, succeed

from model import count_macs, count_params, prepare_filters, uniform_filters
from study import KEPT
from utils.records.methods import method_of
from utils.settings import Networks, SearchSettings
from utils.settings.compression import PruningSettings
from utils.study.arms import Trained
from utils.study.cost import search_macs
from utils.study.missing import jobs_in
from utils.study.trained import (
    BASE_EPOCHS,
    EIGHTH,
    EPOCHS,
    EPOCHS_OF_EQUAL_COMPUTE,
    EQUAL_COMPUTE,
    FEWER,
    FROM_SCRATCH,
    FROM_TRAINED,
    FURTHER,
    PLANNED_TESTS,
    QUARTER,
    QUARTER_PARAMS,
    QUESTIONS,
    SEEDS,
    TENTH,
    TRAINED_BASE,
    parts,
)

SHAPE = shape_of("CIFAR10")
IMAGES = 50_000
BASE = uniform_filters("vgg", TRAINED_BASE.base_ratio)


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(REPOSITORY)  # where the first study's searches are


@pytest.fixture(scope="module")
def jobs():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        return jobs_in(parts(), KEPT["trained"])


def amount(size: str) -> float:
    return float(size[:-1]) * 1e3


def test_each_job_has_a_name_of_its_own_and_its_base_network_comes_before_it(jobs):
    assert len({job.key for job in jobs}) == len(jobs)
    for place, job in enumerate(jobs):
        if job.needs:
            assert job.needs.key in {earlier.key for earlier in jobs[:place]}


def test_arms_of_a_test_have_eight_seeds_and_others_five():
    tested = {
        arm for question in QUESTIONS for test in question.tests for arm in (test.arm, test.against)
    }
    for question in QUESTIONS:
        for arm in question.arms:
            assert arm.seeds == (SEEDS if arm in tested else FEWER), arm.label
    assert sum(len(question.tests) for question in QUESTIONS) == PLANNED_TESTS


def test_whatever_a_question_compares_is_trained_at_one_schedule(jobs):
    schedules = {
        (
            job.settings.lr,
            job.settings.milestones,
            job.settings.batch_size,
            job.settings.limit_train,
        )
        for job in jobs
        if job.name.startswith("given_") and not isinstance(job.settings, SearchSettings)
    }
    assert schedules == {(0.1, (0.5, 0.75, 0.9), 64, 10_000)}


def test_searches_are_those_of_the_first_study_and_done(jobs):
    searches = [job for job in jobs if isinstance(job.settings, SearchSettings)]
    assert searches and all(job.result.exists() for job in searches)


@pytest.mark.parametrize(
    ("size", "budget", "part"),
    [(QUARTER, "macs", 4), (TENTH, "macs", 10), (QUARTER_PARAMS, "params", 4)],
)
def test_the_sizes_are_those_of_the_uniform_networks_within_parts_of_the_base(size, budget, part):
    count = {"macs": count_macs, "params": count_params}[budget]
    within = prepare_filters(
        "vgg", amount=count("vgg", BASE, **SHAPE) // part, budget=budget, **SHAPE
    )
    assert amount(size) == pytest.approx(count("vgg", within, **SHAPE), rel=1e-3)
    assert prepare_filters("vgg", amount=int(amount(size)), budget=budget, **SHAPE) == within


@pytest.mark.parametrize("size", EQUAL_COMPUTE)
def test_uniform_networks_are_trained_for_the_compute_of_base_and_pruning(size):
    whole, part = count_macs("vgg", BASE, **SHAPE), PruningSettings(dataset="CIFAR10").prune_part
    filters = prepare_filters("vgg", amount=int(amount(size)), budget="macs", **SHAPE)
    small = count_macs("vgg", filters, **SHAPE)
    meanwhile = (whole - small) / math.log(whole / small)  # smaller by the same factor each round
    pruning = FURTHER * (part * meanwhile + (1 - part) * small)
    assert EQUAL_COMPUTE[size] * small == pytest.approx(BASE_EPOCHS * whole + pruning, rel=0.01)


def test_each_arm_is_held_against_a_uniform_network_of_its_size():
    for arm in FROM_TRAINED.arms:
        against = FROM_TRAINED.baseline(arm)
        size = QUARTER if arm.size == QUARTER_PARAMS else arm.size  # one uniform network
        assert (against.method, against.size, against.epochs) == ("uniform", size, FURTHER)


def test_what_is_stored_is_shown_and_drawn(tmp_path):
    out = succeed("study.py", "--study", "trained", "--out", tmp_path)
    for question in QUESTIONS:
        for arm in (*question.arms, *question.bases):
            results = [
                result
                for entry in arm.entries()
                for job in entry.jobs(KEPT["trained"])
                if (job.method == "base") == arm.bases
                and job.result.exists()
                and not isinstance(job.settings, SearchSettings)
                for result in [json.loads(job.result.read_text())]
            ]
            if results:
                mean = fmean(result["last"] for result in results)
                row = rf"\| {re.escape(arm.label)} +\| +{len(results)} \|.* {mean:.2f}(?: ± [\d.]+)? \|"
                assert re.search(row, out), row
    assert_is_a_picture(tmp_path / "study_pruned.png")


def test_a_pruned_networks_compute_has_its_bases_in_it():
    result = {
        "images": 10_000,
        "test_acc": [50.0] * FURTHER,
        "macs": 2_500_000,
        "before": {"params": 1, "macs": 10_000_000},
        "settings": {"prune_part": 0.2},
    }
    pruned = next(arm for arm in FROM_TRAINED.arms if arm.name == "taylor")
    found = Trained(pruned, [result], 1)
    # pruned over 3 of 15 epochs, in which the mean of the falling cost is the logarithmic one
    meanwhile = 3 * 7.5e6 / math.log(4)
    expected = 3 * 10_000 * (60 * 10e6 + meanwhile + 12 * 2.5e6)
    assert found.training_macs == pytest.approx(expected)
    assert pruned.all_epochs == "60 + 15"


def test_the_longest_uniform_training_takes_the_compute_of_the_most_expensive_arm():
    """Of its search, too; the mean over both searches."""
    uniform = count_macs("vgg", uniform_filters("vgg", float(EIGHTH)), **SHAPE)

    def epochs(arm) -> float:
        """Epochs of the uniform network for the compute of an arm."""
        found = []
        for seed in arm.searches:
            name, places = f"{arm.search}_s{seed}", KEPT["trained"]
            networks = Networks(prune_fname=name, morph=arm.method == "morph")
            if not networks.morph:
                networks = replace(networks, descent_idx=0)
            method = method_of(networks, "vgg", "CIFAR10", places.record_dir)
            macs = count_macs("vgg", method.filters(float(EIGHTH), **SHAPE), **SHAPE)
            search = search_macs(places, name, "vgg", 1)
            found.append((EPOCHS * IMAGES * macs + search) / (IMAGES * uniform))
        return fmean(found)

    arms = [arm for arm in FROM_SCRATCH.arms if arm.searches]
    assert round(max(map(epochs, arms))) == EPOCHS_OF_EQUAL_COMPUTE


def test_the_readme_says_what_is_stored():
    """Its sentence about a trained network, from the results themselves."""

    def accuracies(arm: str) -> list[float]:
        files = (REPOSITORY / KEPT["trained"].plot_dir / "vgg").glob(f"given_vgg_c10_{arm}_*.json")
        return [json.loads(path.read_text())["last"] for path in files]

    base, pruned, short, whole = (
        accuracies(arm)
        for arm in ("base", "taylor_prune.25", "uniform_uniform", "uniform_all_uniform")
    )
    least = min(map(len, (base, pruned, short, whole)))
    said = (
        f"trained for {BASE_EPOCHS} epochs ({fmean(base):.1f} %) and pruned to a quarter of its "
        f"MACs in {FURTHER} more, has {fmean(pruned):.1f} % ({least} seeds): "
        f"{fmean(pruned) - fmean(short):.1f} points above a uniform network of that size trained "
        f"from scratch for {FURTHER} epochs, and {fmean(pruned) - fmean(whole):+.1f} beside one "
        f"trained for all {BASE_EPOCHS + FURTHER}."
    )
    assert said in " ".join((REPOSITORY / "README.md").read_text().split())
