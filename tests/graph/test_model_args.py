"""What a function is given beside num_classes: --model-args KEY=VALUE, part of the network's name
from then on."""

import json
from pathlib import Path

import pytest
from running import DIGITS, assert_refused, call, snapshot, succeed

from model import build_model, count_params, is_imported, template
from model.errors import UnreadableNetwork
from model.names import argument, parsed, with_arguments
from utils.errors import UserError
from utils.records.networks import load_network
from utils.records.paths import file_name_of, shown_name
from utils.records.results import read_result
from utils.settings.work import check_model

NET = """
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}


class Net(nn.Sequential):
    def __init__(self, in_channels, num_classes, widths=(8, 12), act="relu", norm=True, drop=None):
        layers = []
        for inp, out in zip((in_channels, *widths), widths):
            layers += [nn.Conv2d(inp, out, 3, padding=1), nn.BatchNorm2d(out) if norm else nn.Identity(), ACTIVATIONS[act](),
                       nn.MaxPool2d(2)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(drop or 0), nn.Linear(widths[-1], num_classes))


def wants_more(num_classes, depth, *, width, **others):
    return Net(3, num_classes, widths=(width,) * depth, **others)
"""
GIVEN = ["--model", "net.py:Net", "--model-args", "widths=(8, 16)", "in_channels=3", "act=silu"]
NAME = "net.py:Net(act='silu',in_channels=3,widths=(8,16))"
CALLED = file_name_of(NAME)


@pytest.fixture(autouse=True)
def net(here, fresh):
    Path("net.py").write_text(NET)


@pytest.mark.parametrize(
    ("texts", "canonical"),
    [
        (["depth=3", "drop=0.10"], "(depth=3,drop=0.1)"),
        (["drop=1e-1", "depth=3"], "(depth=3,drop=0.1)"),
        (["widths=(32, 64)"], "(widths=(32,64))"),
        (["widths=[32,64,]"], "(widths=[32,64])"),
        (["one=(3,)"], "(one=(3,))"),
        (["act=relu"], "(act='relu')"),
        (["act='relu'"], "(act='relu')"),
        (['act="it\'s"'], '(act="it\'s")'),
        (["norm=True", "se=False", "drop=None"], "(drop=None,norm=True,se=False)"),
        (["text='3'"], "(text='3')"),
        (["path=a/b:c.yaml"], "(path='a/b:c.yaml')"),
        (["empty="], "(empty='')"),
        (["many={'a': 1, 2: (3, 4)}"], "(many={'a':1,2:(3,4)})"),
        (["n=-3", "m=0x10"], "(m=16,n=-3)"),
        (["name=ä"], r"(name='\xe4')"),
        ([], ""),
        (["code=1==1"], "(code='1==1')"),
        (["s=a,b)"], "(s='a,b)')"),
    ],
)
def test_a_name_carries_arguments_in_one_spelling(texts, canonical):
    name = with_arguments("net.py:Net", texts)
    assert name == f"net.py:Net{canonical}" == str(parsed(name)) == check_model(
        name
    ) and is_imported(name)
    assert parsed(name).arguments == dict(map(argument, texts))
    folder = file_name_of(name)
    assert (
        "/" not in folder
        and not set(folder) & set(" ()[]{}'\":,=\\")
        and folder.startswith("net.Net")
    )


def test_names_that_differ_have_folders_that_do():
    texts = [
        [],
        ["a=1"],
        ["a=-1"],
        ["a=1.0"],
        ["a=b"],
        ["a=(1,)"],
        ["a=[1]"],
        ["a=(1, 2)"],
        ["a=(12,)"],
        ["a=True"],
        ["a='True'"],
        ["a=1", "b=2"],
        ["a=x y"],
        ["a=x_y"],
        ["a=x/y"],
        [f"a={'x' * 200}"],
        [f"a={'x' * 200}y"],
        ["a={1: 2}"],
        ["a='1'"],
    ]
    folders = [file_name_of(with_arguments("net.py:Net", given)) for given in texts]
    assert len(set(folders)) == len(folders) and max(map(len, folders)) < 100
    assert (
        file_name_of("net.py:Net") == "net.Net"
        and file_name_of("torchvision.models:resnet18") == "torchvision.models.resnet18"
    )
    assert (
        file_name_of("a/net.py:Net(depth=3,drop=0.1)") == "net.Net+depth-3+drop-0.1"
        and file_name_of("vgg") == "vgg"
    )
    assert shown_name("a/b/net.py:Net(depth=3)") == "net.py:Net(depth=3)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("depth", "'depth' is not KEY=VALUE"),
        ("=3", "not KEY=VALUE"),
        ("a-b=3", "not KEY=VALUE"),
        ("norm=false", "say False"),
        ("x=NONE", "say None"),
        ("num_classes=3", "num_classes is the number of classes of the data set"),
        ("x=1e999", "only numbers"),
        ("x=b'3'", "only numbers"),
        ("x=1+2j", "only numbers"),
        ("x={1, 2}", "only numbers"),
        ("act=silu", "act is given twice"),
    ],
)
def test_an_argument_that_is_none_is_refused(text, said):
    before = snapshot(Path())
    assert_refused(
        call("check_model.py", "--model", "net.py:Net", "--model-args", "act=relu", text),
        "--model-args",
        said,
    )
    assert snapshot(Path()) == before


@pytest.mark.parametrize(
    "name",
    [
        "net.py:Net(3)",
        "net.py:Net(a=b)",
        "net.py:Net(a=1",
        "net.py:Net(a=f(1))",
        "net.py:Net(a=1)(b=2)",
        "net.py:Net(**{})",
        "net.py:Net(a=1, a=2)",
        "net.py:Net(num_classes=3)",
    ],
)
def test_a_name_with_brackets_that_say_nothing_is_refused(name):
    assert_refused(call("check_model.py", "--model", name), "--model")
    with pytest.raises((UserError, ValueError)):
        check_model(name)
    with pytest.raises(ValueError):
        template(name)


def test_arguments_go_with_functions_alone():
    assert_refused(
        call("architecture_descent.py", "--model", "vgg", "--model-args", "depth=3", "--save", "x"),
        "--model-args",
        "MODULE:FUNCTION",
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "missing a required argument: 'in_channels'; give it with --model-args in_channels=3"),
        (["in_channels=3", "depth=2"], "unexpected keyword argument 'depth'"),
        (
            ["in_channels=3", "act=gelu"],
            "calling it with num_classes=10 act='gelu' in_channels=3 raised KeyError: 'gelu'",
        ),
    ],
)
def test_what_a_function_wants_is_told(given, said):
    arguments = ["--model-args", *given] if given else []
    assert_refused(call("check_model.py", "--model", "net.py:Net", *arguments), said)


def test_all_that_is_missing_is_told():
    with pytest.raises(
        UnreadableNetwork, match="give it with --model-args depth=VALUE width=VALUE"
    ):
        template("net.py:wants_more")
    assert template("net.py:wants_more(depth=2,width=9,norm=False,drop=0.5)") == [9, 9]


def test_from_python_a_name_says_it_all():
    assert (
        template(NAME) == [8, 16]
        and count_params(NAME, [4, 5]) == 4 * 27 + 4 + 8 + 5 * 36 + 5 + 10 + 60
    )
    network = build_model("net.py:Net(in_channels=3, widths=(8, 16), act='silu')", [4, 5])
    assert type(network[2]).__name__ == "SiLU" and network[4].weight.shape == (5, 4, 3, 3)


def test_every_script_takes_them_and_records_say_so():
    once = [*GIVEN, *DIGITS, "--epochs", 1]
    assert (
        succeed("check_model.py", *GIVEN, "--dataset", "digits").splitlines()[0]
        == f"{NAME}, 10 classes, images of 32 pixels"
    )
    succeed(
        "architecture_descent.py",
        "--save",
        "found",
        *GIVEN,
        *DIGITS,
        "--epochs",
        4,
        "--warmup",
        1,
        "--prune-every",
        1,
        "--prune-step",
        2,
        "--iterations",
        1,
        "--batch-size",
        20,
    )
    record = json.loads(Path("prune_record/found.json").read_text())
    assert (record["model"], record["template"]) == (NAME, [8, 16])
    succeed("ratio_swipe.py", "--save", "own_0", "--prune-fname", "found", "--ratios", 0.5, *once)
    succeed(
        "ratio_swipe.py",
        "--save",
        "uni_0",
        "--uniform",
        "--ratios",
        0.5,
        "--model",
        NAME,
        *once[6:],
    )
    assert {
        read_result(Path(f"saved_plots/{CALLED}/{name}_0_50.json"))["model"]
        for name in ("own", "uni")
    } == {NAME}
    path = Path(f"saved_models/{CALLED}/own_0@50.pt")
    with pytest.raises(UserError, match="weights of net"):
        load_network(path, "net.py:Net")
    assert (
        type(load_network(path, "net.py:Net(widths=(8,16), act='silu', in_channels=3)")[2]).__name__
        == "SiLU"
    )
    assert (
        succeed(
            "plot_ratio.py", *GIVEN, "--dataset", "digits", "--runs", "uniform=uni", "own=own"
        ).count("own ")
        >= 1
    )
    succeed(
        "list_architecture.py",
        *GIVEN,
        "--dataset",
        "digits",
        "--prune-fname",
        "found",
        "--ratios",
        0.5,
    )

    # others are another network's
    other = ["--model", "net.py:Net", "--model-args", "in_channels=3", "act=silu"]
    assert_refused(
        call("list_architecture.py", *other, "--dataset", "digits", "--prune-fname", "found"),
        "found.json",
        "a search of",
        NAME,
    )
    assert_refused(
        call(
            "ratio_swipe.py",
            "--save",
            "own_1",
            "--prune-fname",
            "found",
            "--ratios",
            0.5,
            *other,
            *once[6:],
        ),
        "found.json",
        NAME,
    )


def test_the_jobs_of_an_experiment_have_them():
    out = succeed(
        "submit.py",
        *GIVEN,
        "--dataset",
        "digits",
        "--methods",
        "uniform",
        "--seeds",
        0,
        "--ratios",
        0.5,
        "--limit-train",
        100,
        "--limit-test",
        50,
        "--train-with",
        "epochs=1",
        "batch-size=50",
    )
    assert "finished" in out and "failed" not in out
    result = next(Path("saved_plots").glob("*/*.json"))
    assert json.loads(result.read_text())["model"] == NAME and result.name.startswith(
        f"{CALLED}_uni_digits_0"
    )


def test_help_says_how():
    assert "KEY=VALUE" in succeed("ratio_swipe.py", "--help")
