"""The study: its statistics and tables from stored results, what the documentation shows of them,
and running what is missing."""

import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from running import REPOSITORY, assert_refused, call, lasting, snapshot, start, succeed
from scipy import stats

from model import count_macs, count_params, prepare_filters
from utils.errors import UserError
from utils.experiment.state import states_of
from utils.settings import Places, SearchSettings, stored
from utils.study.cost import search_macs
from utils.study.missing import jobs_in, time_left
from utils.study.outcomes import Findings, Outcome, Row, Uniform, with_all_ratios
from utils.study.parts import BASES, FIRST, UNIFORM
from utils.study.plan import STUDIES, study
from utils.study.statistics import Difference, Spread, difference, estimate, holm, pooled
from utils.study.tables import family, main_family, markdown, signed, table_of

PLACES = Places(
    record_dir="prune_record/study_digits",
    plot_dir="saved_plots/study_digits",
    model_dir="saved_models/study_digits",
)
[PART] = study("digits", "nowhere")
WIDTHS = {6: 0.0625, 12: 0.125, 18: 0.1875}


pytestmark = pytest.mark.usefixtures("here", "one_thread")


# --- statistics -----------------------------------------------------------------------------------


def test_a_mean_its_interval_and_its_p_value_are_students():
    values = [0.2, -0.4, 1.9, 0.5, 1.1]
    assert estimate(values) == pytest.approx(
        (np.mean(values), np.std(values, ddof=1) / math.sqrt(5), 5)
    )
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert difference(values) == pytest.approx(
        (np.mean(values), (high - low) / 2, 5, stats.ttest_1samp(values, 0).pvalue)
    )
    # the quantile of one degree of freedom
    assert difference([1.0, 2.0]).half == pytest.approx(12.7062 * 0.5, rel=1e-4)


def test_one_value_has_no_uncertainty_and_nothing_is_clear_of_it():
    mean, error, n = estimate([3.0])
    assert (mean, n) == (3.0, 1) and math.isnan(error)
    alone = difference([3.0], Spread(0.1, 100))
    assert signed(alone) == "+3.00" and math.isnan(alone.half) and family([alone]) == {}


def test_the_spread_is_pooled_within_the_groups():
    groups = [[1.0, 2.0, 3.0], [10.0, 14.0], [7.0]]
    assert (
        pooled(groups) == pytest.approx((math.sqrt((2 + 8) / 3), 3))
        and pooled([[1.0], [2.0]]) is None
    )


@pytest.mark.parametrize("values", [[1.0, 1.1, 0.9, 1.0, 1.0], [3.0, -1.0, 2.0, 0.0, 1.0]])
def test_of_two_intervals_and_p_values_the_more_careful_one_counts(values):
    """Five numbers may lie together by chance, or far apart: the spread of all trainings, or their
    own, is the wider one."""
    spread, squares = Spread(1.0, 100), 0.4
    error = math.sqrt(0.4)
    other = stats.t.ppf(0.975, 100) * error, 2 * stats.t.sf(1 / error, 100)
    paired = stats.t.ppf(0.975, 4) * stats.sem(values), stats.ttest_1samp(values, 0).pvalue
    found = difference(values, spread, squares)
    assert (found.half, found.p) == pytest.approx(max(paired, other)) and (paired > other) == (
        values[0] == 3
    )


def test_holms_correction():
    p = [0.01, 0.04, 0.03, 0.005]
    assert (
        holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        and holm([]) == []
        and holm([0.9, 0.8]) == [1.0, 1.0]
    )
    found = [Difference(1.0, 0.5, 5, each) for each in p]
    assert family([*found, found[0]]) == dict(zip(found, holm(p)))  # the same one is counted once


@pytest.mark.parametrize(
    "given, clear, text",
    [
        (Difference(1.234, 0.456, 5), True, "**+1.23 ± 0.46**"),
        (None, False, "-"),
        (Difference(1.234, 0.456, 5), False, "+1.23 ± 0.46"),
    ],
)
def test_a_difference_is_written_with_its_interval(given, clear, text):
    assert signed(given, clear) == text


def test_a_table_is_markdown():
    assert markdown([("a", "b"), ("xy", "1")]).splitlines() == [
        "| a   |   b |",
        "| --- | --: |",
        "| xy  |   1 |",
    ]


# --- the plan -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUDIES)
def test_the_plan_holds_together(name):
    """Names are there once, every table has its networks and uniform ones to hold them against, all
    train equally long."""
    for part in study(name, "nowhere"):
        jobs = jobs_in([part], PLACES)
        assert len({job.key for job in jobs}) == len({job.result for job in jobs}) == len(jobs)
        assert all(
            job.needs is None or job.needs.key in {other.key for other in jobs} for job in jobs
        )
        trainings = [job.settings for job in jobs if not isinstance(job.settings, SearchSettings)]
        assert len({(s.epochs, s.batch_size, s.limit_train, s.validate) for s in trainings}) == 1
        assert all(len([m for m in s.milestones if m < 1]) == 3 for s in trainings if s.milestones)
        # the searches hold the same images out
        assert len({job.settings.validate for job in jobs}) == 1 and jobs[0].settings.validate
        for table in part.tables:
            entries = [entry for entry in part.entries if table.of in entry.tables]
            seeds = {
                seed
                for entry in entries
                if entry.label == "uniform"
                for seed in entry.experiment.seeds
            }
            assert len(entries) > 1 and all({*entry.experiment.seeds} <= seeds for entry in entries)
            assert table.baseline in (None, FIRST, *(entry.label for entry in entries))
            assert set(table.ratios or ()) <= {
                ratio for entry in entries for ratio in entry.experiment.ratios
            }
        # those of one label differ in nothing but the seed of their search, or of their base
        # network
        for entry in part.entries:
            alike = [other.experiment for other in part.entries if other.label == entry.label]
            assert (
                len(
                    {
                        tuple(text for text in other.search_with or () if "seed=" not in text)
                        for other in alike
                    }
                )
                == 1
            )
            assert (
                len(
                    {
                        (other.train_with, other.tune_with, other.base_ratio, other.budget)
                        for other in alike
                    }
                )
                == 1
            )


def test_turns_go_over_all_parts():
    """The second part's first results come before the first part's last."""
    jobs = jobs_in(study("full", "nowhere"), PLACES)
    place = {job.name: index for index, job in enumerate(jobs)}
    assert len(jobs) == len(
        {job.key for part in study("full", "nowhere") for job in jobs_in([part], PLACES)}
    )
    in_order = [
        "vgg_c10_half_s0_neuralscale_it5_4@12",
        "mobilenetv2_c100_uniform_uniform_0@12",
        "vgg_c10_narrow_s0@search",
        "mobilenetv2_c100_morphed_s0@search",
        "vgg_c10_slow_params_s0@search",
    ]
    assert in_order == sorted(in_order, key=place.__getitem__)
    assert all(place[job.needs.name] < place[job.name] for job in jobs if job.needs)


def test_images_are_looked_for_where_data_says(tmp_path):
    (tmp_path / "images" / "CIFAR10" / "train").mkdir(parents=True)
    there, *others = study("full", "images")
    assert {entry.experiment.dataset for part in (there, *others) for entry in part.entries} == {
        "images/CIFAR10",
        "CIFAR100",
    }
    named, *_ = study("full", "nowhere")
    assert [job.result for job in jobs_in([there], PLACES)] == [
        job.result for job in jobs_in([named], PLACES)
    ]


# --- tables from results --------------------------------------------------------------------------


def accuracy_of(job, what: str = "") -> float:
    """A number that goes with a job's name, and is as good as any."""
    return 50 + int.from_bytes((job.name + what).encode(), "little") % 997 / 40


def leave(job, **other) -> dict:
    """What the finished training of a job leaves; no search is left, so that its network is a
    uniform one of that budget."""
    ratio = WIDTHS[int(job.result.stem.rpartition("_")[2])]
    filters = prepare_filters("vgg", ratio * (1 if "uniform" in job.name else 0.99))
    accuracy, held = accuracy_of(job), accuracy_of(job, "held out")
    name = re.search(r"(uniform|neuralscale_it\d)_\d+@", job.name)[1].replace("it", "")
    settings = {**stored(job.settings), "milestones": list(job.settings.milestones)}
    content = {
        "model": "vgg",
        "dataset": "digits",
        "method": name,
        "num_classes": 10,
        "image_size": 32,
        "convcut": False,
        "filters": filters,
        "params": count_params("vgg", filters),
        "macs": count_macs("vgg", filters),
        "origin": job.search and {"search": job.search, "iteration": 0, "fingerprint": ""},
        "ratio": ratio,
        "seed": job.settings.seed,
        "test_acc": [90.0, accuracy],
        "best": 90.0,
        "last": accuracy,
        "images": 600,
        "validation_images": 200,
        "test_images": 360,
        "val_acc": [95.0, held],
        "seconds": 36.0,
        "settings": settings,
        **other,
    }
    job.result.parent.mkdir(parents=True, exist_ok=True)
    job.result.write_text(json.dumps(content))
    return content


def trainings():
    return [job for job in jobs_in([PART], PLACES) if not isinstance(job.settings, SearchSettings)]


def test_differences_are_paired_by_the_seed_and_averaged_over_the_searches():
    results = [leave(job) for job in trainings()]
    findings = Findings(PART, PLACES)
    rows = findings.rows("main")
    first, row = (
        next(row for row in rows if row.label == f"NeuralScale by MACs, iteration {number}")
        for number in (1, 2)
    )
    for axis, what, last in (
        ("params", "test", lambda r: r["last"]),
        ("macs", "test", lambda r: r["last"]),
        ("macs", "held_out", lambda r: r["val_acc"][-1]),
    ):
        pairs = []
        for seed in (0, 1):
            own = [
                r
                for r in results
                if r["method"] == "neuralscale_2" and r["ratio"] == 0.125 and r["seed"] == seed
            ]
            uniform = sorted(
                (math.log(r[axis]), last(r))
                for r in results
                if r["method"] == "uniform" and r["seed"] == seed
            )
            assert len(own) == 2 and len(uniform) == 3
            pairs.append(
                np.mean([last(r) - np.interp(math.log(r[axis]), *zip(*uniform)) for r in own])
            )
        assert row.against(findings.uniform, axis, what) == pytest.approx(difference(pairs))
    assert row.accuracy() == pytest.approx(
        estimate(
            [
                np.mean(
                    [
                        r["last"]
                        for r in results
                        if r["method"] == "neuralscale_2"
                        and r["ratio"] == 0.125
                        and r["seed"] == seed
                    ]
                )
                for seed in (0, 1)
            ]
        )
    )
    for what, last in (("test", lambda r: r["last"]), ("held_out", lambda r: r["val_acc"][-1])):
        by = {
            (r["method"], r["origin"]["search"], r["seed"]): last(r)
            for r in results
            if r["origin"] and r["ratio"] == 0.125
        }
        searches = {search for _, search, _ in by}
        pairs = [
            np.mean(
                [
                    by["neuralscale_2", search, seed] - by["neuralscale_1", search, seed]
                    for search in searches
                ]
            )
            for seed in (0, 1)
        ]
        assert len(searches) == 2 and row.above(first, what) == pytest.approx(difference(pairs))


def spread_around(mean: float, seed: int) -> float:
    """A mean with a deviation of 1 over the seeds 0 and 1."""
    return mean + (1 if seed else -1) / math.sqrt(2)


def test_a_difference_by_the_spread_of_trainings_counts_each_training_with_its_weight():
    """Uniform networks lie at 100 and 10,000; what lies at 1,000 is held against half of each, and
    two searches share them."""

    def outcome(group, search, seed, ratio, size, mean):
        return Outcome(
            group, None, search, seed, ratio, size, size, (8,), spread_around(mean, seed), 0
        )

    uniform = [
        outcome(UNIFORM, None, seed, ratio, 100**ratio, 50) for seed in (0, 1) for ratio in (1, 2)
    ]
    own = [outcome("a", search, seed, 1.5, 1000, 60) for seed in (0, 1) for search in (0, 1)]
    found = Row("a", 1, 1.5, own).against(Uniform(uniform), "macs", "test", Spread(1.0, 6))
    # each of four is a quarter of a mean, on either side
    error = math.sqrt(4 * (1 / 4) ** 2 + 4 * (1 / 4) ** 2)
    assert found == pytest.approx(
        (10, stats.t.ppf(0.975, 6) * error, 2, 2 * stats.t.sf(10 / error, 6))
    )


def test_trainings_of_other_numbers_of_epochs_are_not_compared():
    def outcome(group, ratio, epochs):
        return Outcome(
            group, None, None, 0, ratio, 100 * ratio, 100 * ratio, (8,), 50, 50, epochs=epochs
        )

    uniform = Uniform([outcome(UNIFORM, 1, 15), outcome(UNIFORM, 2, 15)])
    for epochs, compared in ((15, True), (30, False)):
        row = Row("a", None, 1, [outcome("a", 1, epochs)])
        assert (
            (row.against(uniform, "macs") is not None)
            == (row.above(Row("b", None, 1, [outcome("b", 1, 15)])) is not None)
            == compared
        )


def bold(text: str) -> dict[str, set[bool]]:
    """Of each difference of tables, by network, ratio and what it is to: whether it is bold."""
    found: dict[str, set[bool]] = {}
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        head, _, *lines = [
            [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()
        ]
        for network, ratio, *cells in lines:
            for name, cell in zip(head[2:], cells):
                if re.match(r"\*{0,2}[+-]", cell) and "±" in cell:
                    found.setdefault(f"{network}, {ratio}, {name}: {cell.strip('*')}", set()).add(
                        cell.startswith("*")
                    )
    return found


def test_of_several_ratios_there_is_a_row_of_all():
    def outcome(ratio, seed, test, group="a"):
        return Outcome(group, 1, 0, seed, ratio, 100, 100, (8,), test, test)

    places = [(seed, ratio) for seed in (0, 1) for ratio in (0.5, 2)]
    uniform = Uniform(
        [
            Outcome(
                UNIFORM, None, None, seed, ratio, 100 * ratio, 100 * ratio, (8,), 50.0 + seed, 0
            )
            for seed, ratio in places
        ]
    )
    rows = [
        Row("a", 1, ratio, [outcome(ratio, seed, 50 + 4 * ratio + 3 * seed) for seed in (0, 1)])
        for ratio in (0.5, 2)
    ]
    other = Row("b", 1, 2, [outcome(2, 0, 40, "b")])
    first, second, every, alone = with_all_ratios([*rows, other])
    assert (first, second, alone) == (*rows, other) and (every.label, every.ratio) == (
        "a, iteration 1",
        None,
    )
    # of each seed the mean of its ratios: 2 and 8, 4 and 10
    assert every.against(uniform, "macs") == pytest.approx(difference([5.0, 7.0]))
    assert every.above(first) == pytest.approx(difference([0.0, 0.0]))
    assert every.above(other) == pytest.approx(Difference(18.0, math.nan, 1), nan_ok=True)
    del rows[0].outcomes[1]
    # a seed that is not there at every ratio is left out
    assert with_all_ratios(rows)[2].against(uniform, "macs").n == 1


def test_what_is_of_no_search_is_paired_with_every_search():
    """A baseline of uniform networks: with the same ratio and seed of the training; one that is of
    a search only with the same."""

    def outcome(group, iteration, search_seed, seed, test, ratio=0.25):
        return Outcome(
            group, iteration, search_seed, seed, ratio, 100, 100, (8,), test, test + seed
        )

    own = Row(
        "a",
        5,
        0.25,
        [
            outcome("a", 5, search, seed, 60 + 2 * search + seed)
            for search in (0, 1)
            for seed in (0, 1)
        ],
    )
    bases = Row("b", None, 0.25, [outcome("b", None, None, seed, 50 - seed) for seed in (0, 1, 2)])
    assert own.above(bases) == pytest.approx(difference([11.0, 13.0]))
    assert own.above(bases, "held_out") == pytest.approx(difference([11.0, 13.0]))
    assert own.above(
        Row("c", 5, 0.25, [outcome("c", 5, 1, seed, 50) for seed in (0, 1)])
    ) == pytest.approx(difference([12.0, 13.0]))
    assert own.above(Row("d", None, 0.5, [outcome("d", None, None, 0, 50, 0.5)])) is None


def test_seeds_that_not_all_searches_have_and_searches_outside_of_the_range_do_not_distort_a_mean():
    for job in trainings():
        if "_s1_" not in job.name:
            leave(job, last=70.0, test_acc=[70.0], best=70.0, val_acc=[70.0])
        elif job.settings.seed == 0:
            leave(job, last=50.0, test_acc=[50.0], best=50.0, val_acc=[50.0])
    findings = Findings(PART, PLACES)
    row = findings.rows("main")[-1]
    assert row.accuracy()[:3:2] == (60.0, 1) and row.against(
        findings.uniform, "macs"
    ).mean == pytest.approx(-10)
    for job in trainings():
        leave(job, **({"macs": 10**9} if "_s1_" in job.name else {}))
    findings = Findings(PART, PLACES)
    row = findings.rows("main")[-1]
    assert (
        row.accuracy().n == 2
        and row.against(findings.uniform, "macs") is None
        and row.against(findings.uniform, "params")
    )


def searched(rounds: list[list[int]]) -> float:
    """What the first iteration of a search costs: 2 epochs of 10 million images, a million batches
    of 10 before each round of 4 gates."""
    settings = {
        "warmup": 2,
        "limit_train": 10**7,
        "prune_every": 10**6,
        "batch_size": 10,
        "prune_step": 4,
    }
    entry = {"filters": [8] * 8, "rounds": len(rounds), "alpha": [1.0] * 8, "beta": [0.5] * 8}
    Path("found.json").write_text(
        json.dumps(
            {
                "model": "vgg",
                "dataset": "digits",
                "num_classes": 10,
                "image_size": 16,
                "settings": settings,
                "iterations": [entry, {**entry, "rounds": 1}],
            }
        )
    )
    Path("found_0.csv").write_text("".join(f"{','.join(map(str, row))}\n" for row in rounds))
    assert not Path("found_1.csv").exists()  # of an iteration that is not asked for
    return search_macs(Places(record_dir="."), "found", "vgg", 1)


def test_a_search_costs_what_its_images_cost_in_the_network_that_they_pass():
    def macs(*filters):
        return count_macs("vgg", list(filters), image_size=16)

    full, first, last = [8] * 8, [7, 7, 7, 7, 8, 8, 8, 8], [7, 7, 7, 7, 7, 7, 7, 7]
    assert searched([first, last]) == 10**7 * (
        2 * macs(*full) + macs(*full) + macs(*first) + macs(*last)
    )
    assert searched([last]) == pytest.approx(
        10**7 * (2 * macs(*full) + macs(*full) + macs(*[7.5] * 8) + macs(*last)), rel=0.02
    )


def test_tables_of_costs_have_the_mean_of_the_searches():
    table = dataclasses.replace(PART.tables[0], costs=True)
    for job in trainings():
        leave(job)
    findings = Findings(PART, PLACES)
    with pytest.raises(UserError, match="digits_macs_s0"):
        table_of(findings, table)
    Path(PLACES.record_dir).mkdir(parents=True)
    first = []
    for seed, rows in enumerate(([[7] * 8], [[7] * 8, [6, 6, 6, 6, 7, 7, 7, 7]])):
        first.append(searched(rows))
        Path("found.json").rename(Path(PLACES.record_dir, f"digits_macs_s{seed}.json"))
        Path("found_0.csv").rename(Path(PLACES.record_dir, f"digits_macs_s{seed}_0.csv"))
        Path(PLACES.record_dir, f"digits_macs_s{seed}_1.csv").write_text("7,7,7,7,7,7,7,7\n")
    both = np.mean(first) + first[0]
    shown = [line.split("|")[-2].strip() for line in table_of(findings, table).splitlines()]
    assert [shown[0], *shown[2:]] == [
        "search, TMACs",
        "-",
        f"{np.mean(first) / 1e12:.2f}",
        f"{both / 1e12:.2f}",
    ]


def test_the_tables_show_the_numbers_of_the_results():
    results = [leave(job) for job in trainings()]
    out = succeed("study.py", "--study", "digits", "--out", "pictures")
    for ratio, params in ((0.0625, "37 k"), (0.125, "146 k")):
        accuracies = [
            r["last"] for r in results if r["method"] == "uniform" and r["ratio"] == ratio
        ]
        mean, error, _ = estimate(accuracies)
        line = f"| uniform | {ratio:g} | {params} | "
        assert line in re.sub(r" +", " ", out) and f"| {mean:.2f} ± {error:.2f} |   2 |" in out
    for r in results:
        number, search = r["method"][-1], (r["origin"] or {"search": ""})["search"][-1:]
        name = f"NeuralScale by MACs, iteration {number} | {search}" if search else "uniform | -"
        if r["ratio"] == 0.125:
            # of all seeds, one line
            assert (
                re.sub(r" +", " ", out).count(f"| {name} | {' '.join(map(str, r['filters']))} |")
                == 1
            )
    assert "0 searches and 14 trainings of 16 planned, 0.1 hours" in out
    assert (
        out.count("drew pictures/study_digits_") == 3 and len(list(Path("pictures").iterdir())) == 3
    )
    assert out == succeed("study.py", "--study", "digits", "--out", "pictures")


def test_of_half_a_study_the_half_is_shown():
    leave(trainings()[0])
    out = succeed("study.py", "--study", "digits", "--out", "pictures")
    # there is nothing to compare yet
    assert "0 searches and 1 trainings of 16 planned" in out and "| network" not in out
    for job in trainings():
        if job.settings.seed == 0 and "_s1_" not in job.name:
            leave(job)
    out = succeed("study.py", "--study", "digits", "--out", "pictures")
    # one seed has no standard error
    assert "NeuralScale by MACs, iteration 2" in out and "±" not in out.split("\n", 2)[2]


def test_a_network_far_smaller_than_any_uniform_one_is_compared_with_none():
    for job in trainings():
        leave(job, **({"macs": 1000} if "neuralscale" in job.name else {}))
    findings = Findings(PART, PLACES)
    row = findings.rows("main", (0.125,))[-1]
    assert (
        row.against(findings.uniform, "macs") is None
        and row.against(findings.uniform, "params") is not None
    )
    assert table_of(findings, PART.tables[0]).splitlines()[-1].endswith("|          - |")


@pytest.mark.parametrize(
    "change, naming",
    [
        ({"settings": {}}, "of a training with"),
        ({"method": "morphnet"}, "method"),
        ({"test_acc": [1.0]}, "damaged"),
        ({"dataset": "CIFAR10"}, "CIFAR10"),
        ({"images": 6000}, "6000"),
        ({"test_images": 359}, "359"),
        ({"val_acc": None}, "damaged"),
        ({"seconds": None}, "seconds"),
    ],
)
def test_other_results_and_damaged_ones_are_refused(change, naming):
    for job in trainings():
        leave(job)
    leave(trainings()[3], **change)
    assert_refused(call("study.py", "--study", "digits"), naming, trainings()[3].result)
    assert not Path("images").exists()


@pytest.mark.parametrize(
    "record",
    ["{}", "[]", '{"iterations": [{}]}', '{"model": "vgg", "dataset": "CIFAR100", "settings": {}}'],
)
def test_records_of_searches_that_are_damaged_or_of_others_are_refused(record):
    for job in trainings():
        leave(job)
    path = Path(PLACES.record_dir, "digits_macs_s0.json")
    path.parent.mkdir(parents=True)
    path.write_text(record)
    assert_refused(call("study.py", "--study", "digits"), path)


def test_the_time_left_is_what_jobs_of_their_kind_took():
    jobs = trainings()
    assert time_left(jobs, jobs, 2) is None
    for job in jobs:
        if "@12" in job.name and "_0@" in job.name:
            leave(job, seconds=100.0)
        elif "@6" in job.name and "_0@" in job.name:
            leave(job, seconds=10.0)
    undone = [job for job in jobs if not job.result.exists()]
    wide, narrow = [next(job for job in undone if at in job.name) for at in ("@12", "@6")]
    assert time_left(jobs, [wide, wide, narrow], 1) == 210 and time_left(jobs, [wide], 2) == 50
    # of a kind that is new: the median of all
    assert time_left(jobs, [next(job for job in undone if "@18" in job.name)], 1) == 100


def test_fine_tunings_without_the_weights_of_their_base_network_are_refused():
    """They are stored nowhere: in a new clone the base network's result is there, and its weights
    are not."""
    part, *_ = study("full", "nowhere")
    base = next(job for job in jobs_in([part], PLACES) if job.method == "base")
    part = dataclasses.replace(
        part,
        entries=tuple(
            entry for entry in part.entries if entry.label == "magnitude pruning, twice the epochs"
        ),
    )
    # one for each seed
    assert [job.settings.seed for job in jobs_in([part], PLACES) if job.method == "base"] == [
        0,
        1,
        2,
        3,
        4,
    ]
    content = {
        "model": "vgg",
        "dataset": "CIFAR10",
        "method": "base",
        "ratio": 0.25,
        "best": 50.0,
        "settings": stored(base.settings),
        "origin": None,
    }
    base.result.parent.mkdir(parents=True)
    base.result.write_text(json.dumps(content))
    from utils.study.missing import refuse_without_weights

    states = states_of(jobs_in([part], PLACES), {})
    with pytest.raises(Exception, match=r"vgg_c10_pruned_base.25_25.json: its weights"):
        refuse_without_weights(states)
    weights = Path(PLACES.model_dir, "vgg/vgg_c10_pruned_base.25.pt")
    weights.parent.mkdir(parents=True)
    weights.touch()
    refuse_without_weights(states)


def test_images_that_are_not_there_are_asked_for_in_a_line_before_anything_is_begun(
    monkeypatch, tmp_path
):
    def nowhere(dataset, folder, **_):
        raise UserError(
            f"{folder}: {dataset} is not there, and can't be downloaded (no network); give "
            "--dataset a folder of images"
        )

    monkeypatch.setattr("utils.data.load_data", nowhere)
    assert_refused(
        outcome := call("study.py", "--run"),
        "data: CIFAR10 is not there",
        "--data",
        "make study-run DATA=",
    )
    assert "--dataset" not in outcome.err and snapshot(tmp_path) == {}  # which study.py has not


# --- what the documentation shows -----------------------------------------------------------------

STORED = (REPOSITORY / "saved_plots" / "study").is_dir()


@pytest.mark.skipif(not STORED, reason="no stored results")
def test_stored_networks_are_what_scaling_gives_but_for_those_that_the_documentation_names(
    monkeypatch,
):
    monkeypatch.chdir(REPOSITORY)
    others = set()
    for path in Path("saved_plots/study").glob("*/*_morph_*.json"):
        result = json.loads(path.read_text())
        rows = (
            Path(f"prune_record/study/{result['origin']['search']}_0.csv").read_text().splitlines()
        )
        filters = prepare_filters(
            result["model"],
            result["ratio"],
            pruned_filters=[int(width) for width in rows[-1].split(",")],
            num_classes=result["num_classes"],
            image_size=result["image_size"],
            budget=result["budget"],
        )
        if result["method"] == "morphnet" and filters != result["filters"]:
            others.add(
                (result["origin"]["search"], result["ratio"], result["filters"][2], filters[2])
            )
    assert others == {("vgg_c10_morphed_s0", 0.0625, 30, 29)}
    assert "30\nfilters in its third layer" in (REPOSITORY / "docs" / "study.md").read_text()


@pytest.mark.skipif(not STORED, reason="no stored results")
def test_base_networks_are_a_row_of_their_own_only_where_a_table_asks_for_them(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    part, *_ = study("full", "nowhere")
    findings = Findings(
        part,
        dataclasses.replace(PLACES, record_dir="prune_record/study", plot_dir="saved_plots/study"),
    )
    [bases] = [row for row in findings.rows(None) if row.group == BASES]
    paths = [
        f"saved_plots/study/vgg/vgg_c10_pruned_base.25{seed}_25.json"
        for seed in ("", "_1", "_2", "_3", "_4")
    ]
    assert [outcome.test for outcome in bases.outcomes] == [
        json.loads(Path(path).read_text())["last"] for path in paths
    ]
    assert not any(outcome in findings.uniform.outcomes for outcome in bases.outcomes)
    shown = [table.title for table in part.tables if BASES in table_of(findings, table)]
    assert shown == ["Against uniform networks that were trained on the same kind of processor"]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("| ").split("|")]


def are_among(some: list[str], all_of_them: list[str]) -> bool:
    """Whether some cells are in a row, in this order."""
    rest = iter(all_of_them)
    return all(cell in rest for cell in some)


@pytest.mark.skipif(not STORED, reason="no stored results")
def test_what_the_documentation_shows_is_what_the_stored_results_say(monkeypatch, tmp_path):
    monkeypatch.chdir(REPOSITORY)
    out = succeed("study.py", "--out", tmp_path)
    report, readme = (
        (REPOSITORY / "docs" / "study.md").read_text(),
        (REPOSITORY / "README.md").read_text(),
    )

    # Tables, their key, and what they are of.
    shown = {
        page: [text.strip() for text in re.split(r"\n\n+", page) if text.startswith("| network ")]
        for page in (report, readme)
    }
    assert len(shown[report]) > 3 and all(text in out for text in shown[report])

    # README's table: some rows, some columns, of one that is printed.
    [[head, _, *rows]] = [text.splitlines() for text in shown[readme]]
    printed = [cells(line) for line in out.splitlines() if line.startswith("| ")]
    assert 3 < len(rows) <= 5 and len(set(rows)) == len(rows)
    assert all(any(are_among(cells(row), line) for line in printed) for row in rows)
    assert any(are_among(cells(head), line) for line in printed)
    paragraphs = out.split("\n\n")
    parts = [
        [heading, *paragraphs[index + 1 :]]
        for index, heading in enumerate(paragraphs)
        if heading.startswith("## ")
    ]
    assert paragraphs[0] in report
    assert all(
        of in report
        for heading, of, *tables in parts
        if heading in report and any(table in report for table in tables[1::2])
    )

    # Every number with an interval, with its sign; none of those in sentences is bold.
    number = re.compile(r"[+-]?\d+\.\d+\s±\s\d+\.\d+")
    section = re.search(r"^## What we found$(.*?)^## ", readme, re.M | re.S)[1]
    told, known = (
        {" ".join(found.split()) for found in number.findall(text)}
        for text in (section + report, out)
    )
    assert len(told) > 20 and told <= known
    assert not [
        line
        for line in (section + report).splitlines()
        if re.search(r"\*\*[+-]?\d", line) and not line.startswith("|")
    ]

    # What is bold in one table is in all.
    for part in out.split("\n## ")[1:]:
        assert all(len(ways) == 1 for ways in bold(part).values())

    own = sorted(path.name for path in (REPOSITORY / "images").glob("study_*.png"))
    assert own == sorted(path.name for path in tmp_path.glob("study_*.png")) and all(
        name in report for name in own
    )
    from PIL import Image

    for name in own:
        assert (
            Image.open(REPOSITORY / "images" / name).text["Description"]
            == Image.open(tmp_path / name).text["Description"]
        ), name


@pytest.mark.skipif(not STORED, reason="no stored results")
def test_what_the_study_claims_survives_the_correction_and_what_does_not_is_not_bold(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    part, *_ = study("full", "nowhere")
    findings = Findings(
        part,
        dataclasses.replace(PLACES, record_dir="prune_record/study", plot_dir="saved_plots/study"),
    )
    corrected = {f"{one.mean:+.2f}": p for one, p in main_family(findings).items()}
    assert all(corrected[gain] < 0.05 for gain in ("+3.88", "+3.52", "+1.88", "-1.62", "-2.90"))
    assert all(
        corrected[gain] > 0.05 for gain in ("+2.37", "-1.55", "-0.99", "+0.95", "+0.69", "+0.44")
    )
    assert not any(
        "magnitude" in row.label and findings.against(row, "macs") for row in findings.rows("main")
    )


# --- running it -----------------------------------------------------------------------------------


def kept() -> dict[str, object]:
    """What a study stores, but for times and versions."""
    found = {
        str(path): lasting(json.loads(path.read_text()))
        for folder in (PLACES.record_dir, PLACES.plot_dir)
        for path in Path(folder).rglob("[!.]*.json")
    }
    return found | {str(path): path.read_text() for path in Path(PLACES.record_dir).glob("*.csv")}


def children(process: subprocess.Popen) -> list[int]:
    return [
        int(number)
        for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]


@pytest.fixture
def of_few_images(monkeypatch):
    """The study of digits is one of few images and epochs, in forks of this process too."""
    [part] = study("digits", "nowhere")
    small = {
        "limit_train": 100,
        "limit_test": 50,
        "validate": 50,
        "train_with": ("epochs=3", "batch-size=50"),
    }
    faster = {"prune-step=5": "prune-step=20", "warmup=3": "warmup=1"}
    entries = []
    for entry in part.entries:
        asked = entry.experiment
        search = asked.search_with and tuple(faster.get(text, text) for text in asked.search_with)
        asked = dataclasses.replace(asked, search_with=search, **small)
        entries.append(dataclasses.replace(entry, experiment=asked))
    monkeypatch.setitem(
        STUDIES, "digits", (lambda: dataclasses.replace(part, entries=tuple(entries)),)
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_a_study_that_is_killed_three_times_ends_with_the_same_numbers(
    tmp_path, monkeypatch, forking, of_few_images
):
    """Once with all its jobs, once alone, so that they go on without it, once in a search; by
    processes of their own."""
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "undisturbed")
    command = ["study.py", "--study", "digits", "--run", "--jobs", 2]
    out = succeed(*command)
    expected, shown = kept(), out[out.index("Accuracy") :]
    assert len(expected) == 16 + 4 and "16 of 16" in out

    monkeypatch.chdir(tmp_path / "killed")
    results = Path(PLACES.plot_dir) / "vgg"
    for number, (jobs_too, done) in enumerate(
        [
            (True, lambda: len(list(results.glob("[!.]*.json"))) >= 2),
            (False, lambda: list(Path(PLACES.model_dir).rglob("*_s0@search.pt"))),
            (True, lambda: len(list(results.glob("*_s0_*.json"))) >= 3),
        ]
    ):
        process, began = (
            start(*command, cwd=".", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
            time.monotonic(),
        )
        while not (done() and children(process)):
            assert process.poll() is None and time.monotonic() - began < 300, number
            time.sleep(0.01)
        victims = children(process) if jobs_too else []
        process.kill()
        process.wait()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        assert len(kept()) < len(expected)
    again = succeed(*command)
    assert kept() == expected and again[again.index("Accuracy") :].replace(
        "hours", ""
    ) == shown.replace("hours", "")
    before = snapshot(".")
    assert succeed(*command).startswith("16 jobs: 16 finished\n")
    assert {
        name: content for name, content in snapshot(".").items() if not name.endswith(".png")
    } == {name: content for name, content in before.items() if not name.endswith(".png")}
