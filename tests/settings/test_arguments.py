"""What is mistyped is refused: exit status 2, one line that names it, at once, and nothing
written."""

import re
import resource
import shlex
import subprocess
import sys
import time
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from running import DIGITS, REPOSITORY, SCRIPTS, assert_refused, call, run, snapshot, succeed

from utils.errors import UserError
from utils.settings import Networks, SearchSettings, Storage, TrainingSettings, networks_preset
from utils.settings.parser import Parser

# script and arguments | what the one line must name. `found` and `morphed` are searches, `base` a
# base network of ratio 0.125, `done` a result, all of vgg on digits; a_file and a_folder are what
# they say.
TABLE = r"""
architecture_descent.py | --save
architecture_descent.py --save | --save
architecture_descent.py --save '' | --save
architecture_descent.py --save ../../x | --save
architecture_descent.py --save a/b | --save
architecture_descent.py --save /tmp/x | --save
architecture_descent.py --save . | --save
architecture_descent.py --save .. | --save
architecture_descent.py --save .hidden | --save
architecture_descent.py --save 'two words' | --save
architecture_descent.py --save published | published
architecture_descent.py --save LONG | --save
architecture_descent.py --save x --model alexnet | alexnet
architecture_descent.py --save x --model VGG | VGG
architecture_descent.py --save x --modle vgg | --modle
architecture_descent.py --save x --mod vgg | --mod
architecture_descent.py --save x stray | stray
architecture_descent.py --save x --dataset nowhere | nowhere
architecture_descent.py --save x --dataset cifar10 | cifar10
architecture_descent.py --save x --dataset a_file | a_file
architecture_descent.py --save x --dataset a_folder | a_folder
architecture_descent.py --save x --dataset tinyimagenet --data a_folder | a_folder
architecture_descent.py --save x --dataset tinyimagenet --data a_file | a_file
architecture_descent.py --save x --epochs 0 | --epochs
architecture_descent.py --save x --epochs -3 | --epochs
architecture_descent.py --save x --epochs 1.5 | --epochs
architecture_descent.py --save x --epochs many | --epochs
architecture_descent.py --save x --epochs nan | --epochs
architecture_descent.py --save x --epochs 99999999999999999999 | --epochs
architecture_descent.py --save x --warmup -1 | --warmup
architecture_descent.py --save x --warmup 300 | --warmup
architecture_descent.py --save x --warmup 5 --epochs 5 | --warmup
architecture_descent.py --save x --iterations 0 | --iterations
architecture_descent.py --save x --iterations inf | --iterations
architecture_descent.py --save x --prune-every 0 | --prune-every
architecture_descent.py --save x --prune-step 0 | --prune-step
architecture_descent.py --save x --prune-step -10 | --prune-step
architecture_descent.py --save x --prune-fraction 0 | --prune-fraction
architecture_descent.py --save x --prune-fraction 1.5 | --prune-fraction
architecture_descent.py --save x --prune-fraction nan | --prune-fraction
architecture_descent.py --save x --budget flops | --budget
architecture_descent.py --save x --budget macs --cost-exponent nan | --cost-exponent
architecture_descent.py --save x --budget macs --cost-exponent -1 | --cost-exponent
architecture_descent.py --save x --budget macs --cost-exponent 8.5 | --cost-exponent
architecture_descent.py --save x --cost-exponent 0.5 | --cost-exponent macs
architecture_descent.py --save x --budget params --cost-exponent 0 | --cost-exponent macs
architecture_descent.py --save x --cost-at end | --cost-at macs
architecture_descent.py --save x --budget macs --cost-at middle | --cost-at
architecture_descent.py --save x --fit-rows 0 | --fit-rows
architecture_descent.py --save x --fit-rows 1.01 | --fit-rows
architecture_descent.py --save found --dataset digits --budget macs | found
architecture_descent.py --save x --ratio 0 | --ratio
architecture_descent.py --save x --ratio -1 | --ratio
architecture_descent.py --save x --ratio nan | --ratio
architecture_descent.py --save x --ratio inf | --ratio
architecture_descent.py --save x --ratio -inf | --ratio
architecture_descent.py --save x --ratio 1e9 | --ratio
architecture_descent.py --save x --ratio quarter | --ratio
architecture_descent.py --save x --dataset digits --epochs 2 --warmup 0 --iterations 1 --ratio 0.015 | 0.015
architecture_descent.py --save x --dataset digits --epochs 2 --warmup 0 --iterations 1 --ratio 1e-300 | ratio
architecture_descent.py --save x --dataset digits --ratio 64 | GiB
architecture_descent.py --save x --batch-size 0 | --batch-size
architecture_descent.py --save x --batch-size -256 | --batch-size
architecture_descent.py --save x --dataset digits --batch-size 1438 | --batch-size
architecture_descent.py --save x --dataset digits --limit-train 100 --batch-size 101 | --batch-size
architecture_descent.py --save x --lr 0 | --lr
architecture_descent.py --save x --lr -0.1 | --lr
architecture_descent.py --save x --lr nan | --lr
architecture_descent.py --save x --lr inf | --lr
architecture_descent.py --save x --lr 1000 | --lr
architecture_descent.py --save x --momentum 1 | --momentum
architecture_descent.py --save x --momentum -0.5 | --momentum
architecture_descent.py --save x --weight-decay -1 | --weight-decay
architecture_descent.py --save x --weight-decay nan | --weight-decay
architecture_descent.py --save x --seed -1 | --seed
architecture_descent.py --save x --seed 0.5 | --seed
architecture_descent.py --save x --seed 99999999999999 | --seed
architecture_descent.py --save x --limit-train 0 | --limit-train
architecture_descent.py --save x --limit-train -5 | --limit-train
architecture_descent.py --save x --limit-test 0 | --limit-test
architecture_descent.py --save x --dataset digits --device nonsense | --device
architecture_descent.py --save x --dataset digits --device '' | --device
architecture_descent.py --save x --dataset digits --epochs 2 --warmup 0 --iterations 1 --device meta | --device
architecture_descent.py --save x --dataset digits --device cuda:99 | --device
architecture_descent.py --save x --dataset digits --device cuda | --device
architecture_descent.py --save x --dataset digits --record-dir a_file | a_file
architecture_descent.py --save x --dataset digits --record-dir a_file/below | a_file
architecture_descent.py --save x --dataset digits --record-dir /proc/nowhere | /proc
architecture_descent.py --save x --dataset digits --ratio 0.125 --epochs 3 --warmup 0 --iterations 1 --model-dir a_file | a_file
architecture_descent.py --save x --dataset digits --ratio 0.125 --epochs 3 --warmup 0 --iterations 1 --model-dir /proc/nowhere | /proc
architecture_descent.py --save x --resume --overwrite | --overwrite --resume
architecture_descent.py --save found --dataset digits | found
architecture_descent.py --save found --dataset digits --model resnet18 | found
architecture_descent.py --save found --dataset tinyimagenet | found
architecture_descent.py --save found --dataset digits --resume | found
imagenet_architecture_descent.py | --save
imagenet_architecture_descent.py --save x --model vgg | vgg
imagenet_architecture_descent.py --save x --data nowhere | nowhere
imagenet_architecture_descent.py --save x --data a_file | a_file
imagenet_architecture_descent.py --save x --prune_every 0 | --prune-every
imagenet_architecture_descent.py --save x --warmup 1000 | --warmup
imagenet_architecture_descent.py --save ../x | --save
imagenet_architecture_descent.py --save x --convcut | --convcut
imagenet_architecture_descent.py --save x --overwrite --resume | --overwrite --resume
ratio_swipe.py | --save
ratio_swipe.py --uniform | --save
ratio_swipe.py --save x | --prune-fname
ratio_swipe.py --save x --uniform --prune_fname found | --uniform
ratio_swipe.py --save x --uniform --morph | --uniform
ratio_swipe.py --save x --uniform --descent-idx 0 | --descent-idx
ratio_swipe.py --save x --morph --descent_idx 0 | --descent-idx
ratio_swipe.py --save x --descent-idx 0 | --prune-fname
ratio_swipe.py --save x --morph --dataset digits | digits
ratio_swipe.py --save x --morph --dataset digits --prune_fname found | found
ratio_swipe.py --save x --dataset digits --prune_fname morphed | morphed
ratio_swipe.py --save x --dataset digits --prune_fname nobody | nobody
ratio_swipe.py --save x --dataset digits --prune_fname ../../nobody | nobody
ratio_swipe.py --save x --dataset digits --prune_fname found --descent-idx 1 | --descent-idx
ratio_swipe.py --save x --dataset digits --prune_fname found --descent-idx -1 | --descent-idx
ratio_swipe.py --save x --dataset digits --prune_fname found --descent-idx last | --descent-idx
ratio_swipe.py --save x --dataset digits --prune_fname found --model resnet18 | found vgg
ratio_swipe.py --save x --dataset CIFAR100 --prune_fname found | found digits
ratio_swipe.py --save x --dataset digits --prune_fname published | digits
ratio_swipe.py --save x --dataset digits --prune_fname found --record-dir a_file | a_file
ratio_swipe.py --save x --uniform --dataset digits --ratios | --ratios
ratio_swipe.py --save x --uniform --dataset digits --ratios nan | --ratios
ratio_swipe.py --save x --uniform --dataset digits --ratios 0.5 inf | --ratios
ratio_swipe.py --save x --uniform --dataset digits --ratios 0 | --ratios
ratio_swipe.py --save x --uniform --dataset digits --ratios -0.25 | --ratios
ratio_swipe.py --save x --uniform --dataset digits --ratios 65 | --ratios
ratio_swipe.py --save x --uniform --dataset digits --ratios 0.25 0.25 | --ratios
ratio_swipe.py --save x --uniform --dataset digits --ratios 0.12 0.125 | --ratios
ratio_swipe.py --save x --uniform --dataset digits --ratios 0.01 | 0.01
ratio_swipe.py --save x --uniform --dataset digits --model mobilenetv2 --ratios 0.06 | 0.06
ratio_swipe.py --save x --uniform --dataset digits --ratios 64 | GiB
ratio_swipe.py --save x --prune_fname found --dataset digits --ratios 64 | GiB
ratio_swipe.py --save x --prune_fname found --dataset digits --budget flops | --budget
ratio_swipe.py --save x --uniform --dataset digits --budget | --budget
ratio_swipe.py --save x --uniform --dataset digits --epochs 0 | --epochs
ratio_swipe.py --save x --uniform --dataset digits --batch-size 5000 | --batch-size
ratio_swipe.py --save x --uniform --dataset digits --limit-train 0 | --limit-train
ratio_swipe.py --save x --uniform --dataset digits --lr nan | --lr
ratio_swipe.py --save x --uniform --dataset digits --device nonsense | --device
ratio_swipe.py --save x --uniform --dataset digits --device cuda | --device
ratio_swipe.py --save x --uniform --dataset digits --device meta | --device
ratio_swipe.py --save x --uniform --dataset digits --plot-dir a_file | a_file
ratio_swipe.py --save x --uniform --dataset digits --plot-dir /proc/nowhere | /proc
ratio_swipe.py --save x --uniform --dataset digits --ratios 0.125 --epochs 1 --model-dir a_file | a_file
ratio_swipe.py --save x --uniform --dataset nowhere | nowhere
ratio_swipe.py --save x --uniform --warmup 5 | --warmup
ratio_swipe.py --save published --uniform | published
ratio_swipe.py --save done_0 --uniform --resume --overwrite | --overwrite --resume
ratio_swipe.py --save done_0 --uniform --dataset digits --ratios 0.125 --epochs 1 | done_0_12.json
imagenet_ratio_swipe.py --save x --uniform --model vgg | vgg
imagenet_ratio_swipe.py --save x --uniform --data a_folder | a_folder
imagenet_ratio_swipe.py --save x | --prune-fname
imagenet_ratio_swipe.py --save x --prune_fname nobody | nobody
imagenet_ratio_swipe.py --save x --model mobilenetv2 --prune_fname found | found vgg
imagenet_ratio_swipe.py --save x --uniform --ratios 0.25 nan | --ratios
imagenet_ratio_swipe.py --save x --uniform --resume --overwrite | --overwrite --resume
train_norm.py | --save
train_norm.py --save a/b | --save
train_norm.py --save x --ratio 0 | --ratio
train_norm.py --save x --ratio nan | --ratio
train_norm.py --save x --dataset digits --ratio 0.001 | 0.001
train_norm.py --save x --dataset digits --ratio 64 | GiB
train_norm.py --save x --dataset digits --batch-size 5000 | --batch-size
train_norm.py --save x --dataset digits --plot-dir a_file | a_file
train_norm.py --save x --dataset digits --ratio 0.125 --epochs 1 --model-dir a_file | a_file
train_norm.py --save x --dataset digits --device nonsense | --device
train_norm.py --save x --prune_fname base | --prune-fname
train_norm.py --save x --uniform | --uniform
train_norm.py --save base --resume --overwrite | --overwrite --resume
fine_tune.py --save x | --prune-fname
fine_tune.py --prune_fname base | --save
fine_tune.py --save x --dataset digits --prune_fname nobody | nobody
fine_tune.py --save x --dataset digits --prune_fname a/b | --prune-fname
fine_tune.py --save x --dataset digits --prune_fname base | ratio
fine_tune.py --save x --dataset digits --prune_fname base --ratio 0.125 | 0.125
fine_tune.py --save x --dataset digits --prune_fname base --ratio 0.001 | 0.001
fine_tune.py --save x --dataset digits --prune_fname base --ratio inf | --ratio
fine_tune.py --save x --dataset digits --prune_fname base --ratio 0.1 --budget MACs | --budget
fine_tune.py --save x --dataset digits --prune_fname base --ratio 0.125 --budget macs | 0.125
fine_tune.py --save x --dataset digits --prune_fname base --model resnet18 | base
fine_tune.py --save x --dataset digits --prune_fname base --ratio 0.1 --model-dir a_file | a_file
fine_tune.py --save x --dataset digits --prune_fname base --ratio 0.1 --plot-dir a_file | a_file
fine_tune.py --save x --dataset digits --prune_fname base --ratio 0.1 --batch-size 5000 | --batch-size
fine_tune.py --save x --prune_fname base --resume --overwrite | --overwrite --resume
prune.py --save x --target 25% | --weights
prune.py --save x --weights saved_models/vgg/base.pt | --target
prune.py --save x --dataset digits --weights nobody.pt --target 25% | nobody.pt
prune.py --save x --dataset digits --weights a_folder --target 25% | a_folder
prune.py --save x --dataset digits --weights a_file --target 25% | a_file
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 25 | 25
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 101% | 101%
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 25pct | 25pct
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 25% --budget MACs | --budget
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 25% --criterion best | --criterion
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 25% --uniform --morph | --uniform
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 25% --descent-idx 1 | --descent-idx
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 25% --prune-part 1.5 | --prune-part
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 25% --round-to 0 | --round-to
prune.py --save x --dataset digits --weights saved_models/vgg/base.pt --target 25% --model resnet18 | resnet18
list_architecture.py | --prune-fname
list_architecture.py --prune-fname nobody | nobody
list_architecture.py --prune-fname ../nobody | nobody
list_architecture.py --prune-fname found --dataset CIFAR10 | found
list_architecture.py --prune-fname found --dataset digits --model resnet18 | found
list_architecture.py --prune-fname published --dataset digits | digits
list_architecture.py --prune-fname published --model mobilenetv2 --dataset CIFAR10 | mobilenetv2
list_architecture.py --prune-fname published --ratios 0 | --ratios
list_architecture.py --prune-fname published --ratios nan | --ratios
list_architecture.py --prune-fname published --ratios 100 | --ratios
list_architecture.py --prune-fname published --ratios 0.001 | 0.001
list_architecture.py --prune-fname published --budget latency | --budget
list_architecture.py --prune-fname published --model nobody | --model
list_architecture.py --prune-fname found --dataset digits --record-dir a_file | a_file
list_architecture.py --prune-fname found --dataset digits --ratios 0.25 --plot --out a_folder | a_folder
list_architecture.py --prune-fname found --dataset digits --ratios 0.25 --plot --out a_file/x.png | a_file
list_architecture.py --prune-fname found --dataset digits --ratios 0.25 --plot --out /proc/x.png | /proc
list_architecture.py --prune-fname found --dataset digits --ratios 0.25 --plot --plot-dir a_file | a_file
check_model.py --model nobody | nobody | MODULE:FUNCTION
check_model.py --model nobody.py:Net | nobody.py
check_model.py --image-size 0 | --image-size
check_model.py --image-size 16 --model torchvision.models:alexnet | 16 pixels
check_model.py --num-classes x | --num-classes
plot_filters.py | --prune-fname
plot_filters.py --prune-fname nobody | nobody
plot_filters.py --prune-fname published | published
plot_filters.py --prune-fname found --dataset CIFAR10 | found
plot_filters.py --prune-fname found --dataset digits --plot-dir a_file | a_file
plot_filters.py --prune-fname found --dataset digits --record-dir a_folder | a_folder
plot_ratio.py --model nobody | --model
plot_ratio.py --axis time | --axis
plot_ratio.py --runs | --runs
plot_ratio.py --runs done | --runs
plot_ratio.py --runs =done | --runs
plot_ratio.py --runs mine= | --runs
plot_ratio.py --runs mine=nobody | nobody
plot_ratio.py --dataset CIFAR10 --runs mine=done | done_0_12.json
plot_ratio.py --dataset digits --runs mine=done good | --runs
plot_ratio.py --dataset digits --plot-dir a_folder | digits
plot_ratio.py --dataset nowhere | nowhere
plot_ratio.py --no-published | vgg_uni_c10
plot_ratio.py --dataset digits --runs mine=done --out a_folder | a_folder
plot_ratio.py --dataset digits --runs mine=done --out a_file/x.png | a_file
plot_ratio.py --dataset digits --runs mine=done --plot-dir a_file | a_file
plot_ratio.py --dataset digits --runs mine=done --axis latency --device nonsense | --device
plot_ratio_warmup.py --axis weight | --axis
plot_ratio_warmup.py --dataset digits | digits
plot_ratio_warmup.py --convcut --dataset digits | digits
plot_ratio_warmup.py --runs mine=nobody | nobody
plot_ratio_warmup.py --dataset CIFAR10 --out a_folder | a_folder
plot_ratio_finetune.py --ratio nan | --ratio
plot_ratio_finetune.py --ratio 0.33 | 0.33
plot_ratio_finetune.py --dataset digits | 0.75
plot_ratio_finetune.py --runs mine | --runs
plot_training.py | NAME
plot_training.py nobody | nobody_<ratio>.json
plot_training.py done nobody | nobody
plot_training.py ../done_0 | ../done_0
plot_training.py done_0 --dataset CIFAR10 | done_0_12.json digits CIFAR10
plot_training.py done_0 --model nobody | --model
plot_training.py done_0 --out a_folder | a_folder
plot_training.py done_0 --plot-dir a_file | a_file
report.py | --save
report.py --save nobody | nobody_<ratio>.json
report.py --save done nobody | nobody
report.py --save ../done_0 | ../done_0
report.py --save done_0 --dataset CIFAR10 | done_0_12.json digits CIFAR10
report.py --save done_0 --model nobody | --model
report.py --save done_0 --out a_folder | a_folder
report.py --save done_0 --plot-dir a_file | a_file
export.py | --save
export.py --save a/b | a/b
export.py --save x --uniform | --uniform
export.py --save nobody --dataset digits | nobody
export.py --save done_0 --dataset digits --ratio 0.5 | done_0@50
export.py --save done_0 --dataset digits --ratio nan | --ratio
export.py --save done_0 --dataset digits --ratio 0.125 --out a_file | a_file
export.py --save done_0 --dataset CIFAR10 --ratio 0.125 | digits
export.py --prune-fname nobody --dataset digits | nobody
export.py --prune-fname found --dataset digits --descent-idx 7 | --descent-idx
export.py --uniform --morph | --morph
export.py --uniform --ratio 0.001 | 0.001
export.py --uniform --budget flops | --budget
export.py --uniform --round-to 0 | --round-to
export.py --uniform --seed 1 | --seed
ratio_swipe.py --save x --uniform --round-to 0 | --round-to
list_architecture.py --prune-fname found --dataset digits --round-to 2.5 | --round-to
val_format.py --data nowhere | nowhere
val_format.py --data a_file | a_file
val_format.py --data | --data
val_format.py nowhere | nowhere
val_format.py --date x | --date
submit.py --dataset digits | --search
submit.py --dataset digits --search x --methods neuralscale alexnet | alexnet
submit.py --dataset digits --search published | digits
submit.py --dataset digits --search x --train-with epochs=many | epochs=many
submit.py --dataset digits --search morphed | morphed
submit.py --dataset CIFAR100 --search found | found digits
submit.py --dataset digits --methods uniform --gpus 99 | --gpus
submit.py --dataset digits --methods uniform --cluster slurm | time=
submit.py --dataset digits --methods uniform --record-dir a_file --model-dir a_file | a_file
submit.py --dataset digits --methods uniform --validate 0 | --validate
submit.py --dataset digits --methods uniform --base-ratio 0.5 | --base-ratio
ratio_swipe.py --save x --uniform --dataset digits --validate 1437 | --validate
ratio_swipe.py --save x --uniform --dataset digits --validate 1400 --batch-size 50 | --batch-size
architecture_descent.py --save x --dataset digits --validate -1 | --validate
train_norm.py --save x --dataset digits --validate 0 | --validate
study.py | saved_plots/study --run
study.py --study digits | saved_plots/study_digits --run
study.py --study nothing | --study
study.py --run --jobs 0 | --jobs
study.py --run --jobs many | --jobs
study.py --jobs 2 | --jobs --run
submit.py --dataset digits --search published --methods neuralscale_16 --model vgg | digits
submit.py --dataset CIFAR10 --search published --methods neuralscale_16 --model vgg | neuralscale_16 15
submit.py --dataset digits --methods uniform --base-seed 1 | --base-seed
study.py --study digits --plot-dir a_file | a_file
"""
ROWS = [
    tuple(part.strip() for part in line.rsplit("|", 1))
    for line in TABLE.replace("LONG", 200 * "x").strip().splitlines()
]
AS_PROCESSES = [  # one of each script; the first three are noticed late
    "architecture_descent.py --save x --dataset digits --limit-train 100 --batch-size 101",
    "ratio_swipe.py --save x --prune_fname found --dataset digits --ratios 64",
    "plot_filters.py --prune-fname found --dataset digits --plot-dir a_file",
    "imagenet_architecture_descent.py --save x --prune_every 0",
    "imagenet_ratio_swipe.py --save x --uniform --ratios 0.25 nan",
    "train_norm.py --save a/b",
    "fine_tune.py --save x",
    "prune.py --save x --target 25%",
    "list_architecture.py --prune-fname nobody",
    "plot_ratio.py --axis time",
    "plot_ratio_warmup.py --axis weight",
    "plot_ratio_finetune.py --ratio nan",
    "plot_training.py nobody",
    "report.py --save nobody",
    "export.py --save nobody --dataset digits",
    "check_model.py --model nobody.py:Net",
    "val_format.py --data nowhere",
    "submit.py --dataset digits --search morphed",
    "study.py --run --jobs 0",
]
# of processor time: how long it takes by the clock depends on what else the machine does
SECONDS = 10
HELP_SECONDS = 3


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A folder with a finished search, a --morph search, a base network and a result."""
    folder = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        search = [
            *DIGITS,
            "--ratio",
            0.125,
            "--epochs",
            3,
            "--warmup",
            0,
            "--prune-every",
            1,
            "--iterations",
            1,
        ]
        succeed("architecture_descent.py", "--save", "found", *search)
        succeed("architecture_descent.py", "--save", "morphed", "--morph", *search)
        succeed("train_norm.py", "--save", "base", *DIGITS, "--ratio", 0.125, "--epochs", 1)
        succeed(
            "ratio_swipe.py",
            "--save",
            "done_0",
            "--uniform",
            *DIGITS,
            "--ratios",
            0.125,
            "--epochs",
            1,
        )
    (folder / "a_file").write_text("not a folder")
    (folder / "a_folder").mkdir()
    return folder


def test_the_table_is_large_and_covers_every_script():
    assert len({command for command, _ in ROWS}) == len(ROWS) >= 60
    assert {command.split()[0] for command, _ in ROWS} == set(SCRIPTS)
    assert {command.split()[0] for command in AS_PROCESSES} == set(SCRIPTS)
    assert set(AS_PROCESSES) <= {command for command, _ in ROWS}


@pytest.mark.parametrize(
    "command, naming", ROWS, ids=[command.replace("x" * 50, "") for command, _ in ROWS]
)
def test_a_mistake_is_one_line_and_writes_nothing(command, naming, folder):
    if command.endswith("--device cuda") and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    before, began = snapshot(folder), time.process_time()
    outcome = call(*shlex.split(command))
    seconds = time.process_time() - began
    assert_refused(outcome, *naming.split())
    assert snapshot(folder) == before
    assert seconds < SECONDS


@pytest.mark.parametrize("command", AS_PROCESSES)
def test_a_mistake_ends_the_process_with_status_2(command, folder):
    before = snapshot(folder)
    outcome, seconds = timed(lambda: run(*shlex.split(command), cwd=folder, fresh=True))
    assert_refused(outcome, *dict(ROWS)[command].split())
    assert snapshot(folder) == before
    assert seconds < SECONDS


@pytest.mark.parametrize(
    "script, more",
    [
        ("architecture_descent.py", "--ratio 0.125 --epochs 3 --warmup 0"),
        ("ratio_swipe.py", "--uniform --ratios 0.125 --epochs 1"),
        ("train_norm.py", "--ratio 0.125 --epochs 1"),
    ],
)
def test_a_model_dir_that_cannot_be_written_is_noticed_before_training(script, more, folder):
    """The weights are written after days."""
    outcome = call(script, "--save", "x", *DIGITS, *more.split(), "--model-dir", "a_file")
    assert_refused(outcome, "a_file")
    assert "epoch 0" not in outcome.out


def test_a_line_break_in_an_argument_makes_no_second_line(folder):
    for arguments in (
        ["--save", "x\ny"],
        ["--save", "x", "stray\nargument"],
        ["--save", "x", "--epochs", "0\n"],
        ["--save", "x", "--model", "a\nb"],
    ):
        assert_refused(call("architecture_descent.py", *arguments))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_quick_and_loads_no_torch(script, tmp_path):
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(REPOSITORY)!r}); sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print('loaded:', *[name for name in ('torch', 'matplotlib', "
        "'sklearn') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(REPOSITORY / script), "--help"]
    done, seconds = timed(
        lambda: subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    )
    assert done.returncode == 0 and not done.stderr and done.stdout.startswith(f"usage: {script}")
    assert done.stdout.endswith("loaded:\n")
    assert not any(tmp_path.iterdir())
    assert seconds < HELP_SECONDS


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_every_default(script, monkeypatch):
    """Of an option whose default follows the data set, "A, on TinyImageNet B". The defaults are
    what the script would work with."""
    entries = {
        entry.split()[0].rstrip(","): entry
        for entry in re.split(r"\n  (?=-)", call(script, "--help").out)
    }
    needed = [
        *(flag for name, flag in NEEDED.items() if f"--{name}" in entries),
        *(["x"] if script == "plot_training.py" else []),
        *(["--weights=x", "--target=25%"] if script == "prune.py" else []),
    ]
    usual, on_cifar, on_tiny = (
        settings_of(script, monkeypatch, *needed, *more)
        for more in (
            (),
            *(
                ["--dataset", name] if "--dataset" in entries else []
                for name in ("CIFAR100", "tinyimagenet")
            ),
        )
    )
    for action in parser_of(script, monkeypatch)._actions[1:]:  # all but --help
        assert action.help
        if not action.option_strings:
            continue
        entry = " ".join(entries[action.option_strings[0]].split())
        shown = re.search(r"\(default: (.*?)\)", entry)
        stated = (shown[1] if shown else "").split(", on TinyImageNet ")
        if action.dest == "dataset":
            assert stated == [usual["dataset"] or "that of the results"]
            continue
        if action.dest.replace("_", "-") in NEEDED or action.required:
            assert not shown
            continue
        if action.dest == "model_args":  # part of the network's name
            assert not shown and action.dest not in usual
            continue
        if action.dest not in usual:
            assert "accepted and not used" in entry
            continue
        assert (
            missing(on_cifar[action.dest], stated[0])
            == missing(on_tiny[action.dest], stated[-1])
            == []
        )
        assert len(stated) == 1 + (on_cifar[action.dest] != on_tiny[action.dest])


def missing(default, stated: str) -> list[str]:
    """The words that say ``default`` and are not in what --help states of it; a flag needs none."""
    if default is None or isinstance(default, bool):
        return []
    if default == ():
        return [] if stated == "none" else ["none"]
    if isinstance(default, tuple) and isinstance(default[0], str):
        return [word for word in default if word not in stated.split()]
    # one by one, as 1/3 2/3; or evenly spaced, where the first may be left out if it has been said
    if isinstance(default, tuple):
        if re.fullmatch(r"[\d./ ]+", stated):
            return [] if tuple(float(Fraction(w)) for w in stated.split()) == default else [stated]
        steps = {round(b - a, 9) for a, b in pairwise(default)}
        [step] = steps
        words = [f"{default[0]:g} to {default[-1]:g}" + f" in steps of {step:g}" * (step != 1)]
        return [] if stated in (*words, f"to {default[-1]:g}") else words
    return [] if str(default) in re.split(r"[,;]? ", stated) else [str(default)]


def test_help_shows_the_default_that_goes_with_morph(monkeypatch):
    said = " ".join(call("architecture_descent.py", "--help").out.split())
    shown = re.search(r"--prune-fraction PRUNE_FRACTION fraction[^(]*\(default: (.*?)\)", said)[1]
    fractions = [
        settings_of("architecture_descent.py", monkeypatch, "--save", "x", *more)["prune_fraction"]
        for more in ([], ["--morph"])
    ]
    assert shown == "{}; {} with --morph".format(*fractions)


NEEDED = {"save": "--save=x", "prune-fname": "--prune-fname=x"}  # to begin at all
PAPER = {  # the training settings of the paper's section 4.1
    "architecture_descent.py": {
        "model": "vgg",
        "warmup": 10,
        "iterations": 15,
        "epochs": 300,
        "prune_every": 50,
        "prune_step": 10,
        "ratio": 1.0,
        "batch_size": 256,
        "lr": 0.1,
        "momentum": 0.5,
        "weight_decay": 5e-4,
        "compact": True,
    },
    "imagenet_architecture_descent.py": {
        "model": "resnet18",
        "dataset": "tinyimagenet",
        "warmup": 10,
        "iterations": 15,
        "prune_every": 100,
        "batch_size": 100,
    },
    "ratio_swipe.py": {
        "model": "vgg",
        "epochs": 300,
        "batch_size": 128,
        "lr": 0.1,
        "momentum": 0.5,
        "weight_decay": 5e-4,
        "ratios": (0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2),
    },
    "imagenet_ratio_swipe.py": {
        "model": "resnet18",
        "dataset": "tinyimagenet",
        "epochs": 150,
        "batch_size": 128,
        "ratios": (0.25, 0.5, 0.75, 1),
    },
    "train_norm.py": {"epochs": 300, "batch_size": 128, "lr": 0.1, "ratio": 1.0},
    "fine_tune.py": {"epochs": 40, "batch_size": 128, "lr": 0.001, "ratio": 0.75},
}
COMMON = {
    "data": "data",
    "record_dir": "prune_record",
    "plot_dir": "saved_plots",
    "model_dir": "saved_models",
    "device": "auto",
}


@pytest.mark.parametrize("script", PAPER)
def test_the_defaults_are_the_papers(script, monkeypatch):
    flags = ["--save", "x", *(["--prune-fname", "x"] if script == "fine_tune.py" else [])]
    settings = settings_of(script, monkeypatch, *flags)
    expected = {**COMMON, **PAPER[script]}
    assert {name: settings[name] for name in expected} == expected


def test_tinyimagenet_fine_tunes_for_20_epochs(monkeypatch):
    flags = ["--save", "x", "--prune-fname", "x", "--dataset", "tinyimagenet"]
    assert settings_of("fine_tune.py", monkeypatch, *flags)["epochs"] == 20


def test_a_search_follows_its_data_set_and_what_is_given_wins(monkeypatch):
    def found(script, *flags) -> tuple[int, int]:
        settings = settings_of(script, monkeypatch, "--save", "x", *flags)
        return settings["prune_every"], settings["batch_size"]

    tiny = "--dataset=tinyimagenet"
    assert (
        found("architecture_descent.py", tiny)
        == found("architecture_descent.py", "--dataset=a/tiny-imagenet-200")
        == (100, 100)
    )
    assert (
        found("architecture_descent.py", "--dataset=CIFAR100")
        == found("architecture_descent.py", "--dataset=my_images")
        == (50, 256)
    )
    assert found("imagenet_architecture_descent.py") == (100, 100)
    assert found("imagenet_architecture_descent.py", "--dataset=CIFAR100") == (50, 256)
    assert found("architecture_descent.py", tiny, "--prune-every=50") == (50, 100)
    assert found("architecture_descent.py", "--batch-size=256", "--prune_every", "7", tiny) == (
        7,
        256,
    )


def test_a_sweep_follows_its_data_set_and_what_is_given_wins(monkeypatch):
    for script in ("ratio_swipe.py", "imagenet_ratio_swipe.py"):
        settings = settings_of(
            script, monkeypatch, "--save=x", "--uniform", "--dataset=tinyimagenet"
        )
        assert (settings["epochs"], settings["ratios"], settings["milestones"]) == (
            150,
            (0.25, 0.5, 0.75, 1),
            (1 / 3, 2 / 3),
        )
        settings = settings_of(script, monkeypatch, "--save=x", "--uniform", "--dataset=CIFAR10")
        assert (settings["epochs"], settings["ratios"][-1], settings["milestones"]) == (
            300,
            2,
            (1 / 3, 2 / 3, 5 / 6),
        )
        given = ["--epochs=300", "--ratios", "0.5", "2"]
        settings = settings_of(
            script, monkeypatch, "--save=x", "--uniform", "--dataset=tinyimagenet", *given
        )
        assert (settings["epochs"], settings["ratios"]) == (300, (0.5, 2))


@pytest.mark.parametrize(
    "flags", ["--warmup 299", "--warmup 5 --epochs 6", "--epochs 1 --warmup 0"]
)
def test_one_epoch_to_prune_in_is_enough(flags, monkeypatch):
    settings = settings_of("architecture_descent.py", monkeypatch, "--save", "x", *flags.split())
    assert settings["epochs"] == settings["warmup"] + 1


@pytest.mark.parametrize(
    "kind, values, naming",
    [
        (SearchSettings, {"epochs": 0}, "--epochs"),
        (SearchSettings, {"epochs": 5, "warmup": 5}, "--warmup"),
        (SearchSettings, {"prune_fraction": 0}, "--prune-fraction"),
        (SearchSettings, {"prune_every": True}, "--prune-every"),
        (SearchSettings, {"model": "alexnet"}, "--model"),
        (SearchSettings, {"morph": True}, "--morph"),
        (SearchSettings, {"budget": "flops"}, "--budget"),
        (SearchSettings, {"cost_exponent": 0.5}, "--cost-exponent"),
        (SearchSettings, {"budget": "macs", "cost_exponent": 9}, "--cost-exponent"),
        (Networks, {"budget": "flops"}, "--budget"),
        (TrainingSettings, {"lr": float("nan")}, "--lr"),
        (TrainingSettings, {"lr": "0.1"}, "--lr"),
        (TrainingSettings, {"batch_size": 0.5}, "--batch-size"),
        (TrainingSettings, {"milestones": (2.0,)}, "--milestones"),
        (Networks, {"ratios": (0,)}, "--ratios"),
        (Networks, {"ratios": 0.5}, "--ratios"),
        (Networks, {"ratios": (0.5, float("inf"))}, "--ratios"),
        (Networks, {"uniform": True, "morph": True}, "--uniform"),
        (Networks, {"morph": True, "descent_idx": 0}, "--descent-idx"),
        (Storage, {"save": "a/b"}, "--save"),
        (Storage, {"save": "published"}, "published"),
        (Storage, {"save": "x", "resume": True, "overwrite": True}, "--overwrite"),
    ],
)
def test_callers_from_python_are_held_to_the_same_bounds(kind, values, naming):
    with pytest.raises(UserError, match=naming) as error:
        kind(**values)
    assert "\n" not in str(error.value)


def test_hyphens_and_underscores_are_the_same_in_options_and_kept_in_values(monkeypatch):
    for flags in (
        ["--save=my_run_0", "--prune_every=7", "--limit_train", "5", "--record_dir", "a_b-c"],
        ["--save", "my_run_0", "--prune-every", "7", "--limit-train=5", "--record-dir=a_b-c"],
    ):
        settings = settings_of("architecture_descent.py", monkeypatch, *flags)
        assert (settings["save"], settings["prune_every"], settings["limit_train"]) == (
            "my_run_0",
            7,
            5,
        )
        assert settings["record_dir"] == "a_b-c"


class Taken(Exception):
    """Carries something out of a script, which ends there."""


def take(*something, **__):
    raise Taken(*something)


def parser_of(script, monkeypatch) -> Parser:
    with monkeypatch.context() as patch, pytest.raises(Taken) as taken:
        patch.setattr(Parser, "parse_args", take)
        call(script)
    return taken.value.args[0]


def settings_of(script, monkeypatch, *flags) -> dict:
    """What a script would work with: all that its core function is given, or, of a script that
    trains nothing, its parser says."""
    parse_settings, given = Parser.parse_settings, Parser.given
    with monkeypatch.context() as patch, pytest.raises(Taken) as taken:
        for core in (
            "search.search.search",
            "training.sweep.sweep",
            "training.finetune.train_base",
            "training.finetune.fine_tune",
            "compression.prune.prune",
        ):
            patch.setattr(f"utils.{core}", take)
        patch.setattr(
            Parser, "parse_settings", lambda *arguments: take(*parse_settings(*arguments))
        )
        if script in ("val_format.py", "study.py"):
            patch.setattr(Parser, "given", lambda parser: take(given(parser)))
        call(script, *flags)
    assert taken.value.args
    found = {
        name: value
        for part in taken.value.args
        for name, value in (part if isinstance(part, dict) else vars(part)).items()
    }
    if script == "study.py":  # without a data set, and what the options of the folders show
        return {
            **found,
            **{
                f"{kind}_dir": folder
                for kind, folder in (
                    ("record", "prune_record/study"),
                    ("plot", "saved_plots/study"),
                    ("model", "saved_models/study"),
                )
            },
            "data": "data",
        }
    # which take what they are not given from the data set's preset
    if script in ("list_architecture.py", "export.py", "submit.py"):
        preset = networks_preset(found["dataset"])
        found = {
            **vars(preset),
            "model_dir": Storage.model_dir,
            "image_size": None,
            "channels": None,
            **found,
            "ratios": found.get("ratios") or preset.ratios,
        }
    return found


def timed(work):
    """What ``work`` returns, and the processor seconds of the processes that it waited for."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    return work(), used() - before
