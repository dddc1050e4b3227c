"""Parameters and MACs are those of the network that is built; the numbers are those of the paper's
networks."""

import numpy as np
import pytest
import torch
from built_in import BUILT_IN
from networks import build, measured_macs, parameters, random_filters
from paper import PARAMETERS, RATIOS
from results import shape_of
from torch.utils.flop_counter import FlopCounterMode

from model import MODELS, build_model, count_macs, count_params, template, uniform_filters
from model.gate import GateLayer, gates_of


@pytest.mark.parametrize(("name", "dataset"), PARAMETERS)
def test_parameters_are_those_of_the_published_networks(name, dataset):
    shape = shape_of(dataset)
    for ratio, expected in zip(RATIOS, PARAMETERS[name, dataset]):
        filters = uniform_filters(name, ratio)
        assert count_params(name, filters, **shape) == expected
        assert parameters(build(name, filters, **shape)) == expected


@pytest.mark.parametrize("convcut", [False, True])
@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_the_built_network(name, image_size, convcut):
    rng = np.random.default_rng(0)
    for num_classes in (2, 10, 37):
        filters = random_filters(name, rng)
        shape = {"num_classes": num_classes, "image_size": image_size, "convcut": convcut}
        plain, gated = build(name, filters, **shape), build(name, filters, gated=True, **shape)
        assert count_params(name, filters, **shape) == parameters(plain)
        assert count_macs(name, filters, **shape) == measured_macs(plain, image_size)
        assert parameters(gated) == parameters(plain) + sum(filters)


@pytest.mark.parametrize("image_size", [*range(33, 64, 6), 65, 75, 97, 160, 223, 224])
@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_the_built_network_at_any_image_size(name, image_size):
    filters = random_filters(name, np.random.default_rng(image_size))
    plain, images = (
        build(name, filters, image_size=image_size),
        torch.empty(1, 3, image_size, image_size, device="meta"),
    )
    with FlopCounterMode(display=False) as counter:
        plain.eval()(images)
    assert count_params(name, filters, image_size=image_size) == parameters(plain)
    assert (
        count_macs(name, filters, image_size=image_size)
        == measured_macs(plain, image_size)
        == counter.get_total_flops() / 2
    )


@pytest.mark.parametrize("convcut", [False, True])
@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize("name", MODELS)
def test_an_array_of_networks_is_counted_column_by_column(name, image_size, convcut):
    rng = np.random.default_rng(1)
    shape = {"image_size": image_size, "convcut": convcut}
    columns = [random_filters(name, rng) for _ in range(50)] + [
        template(name),
        [1] * len(template(name)),
    ]
    for count in (count_params, count_macs):
        together = count(name, np.array(columns).T, **shape)
        assert together.shape == (52,)
        assert together.tolist() == [count(name, column, **shape) for column in columns]


@pytest.mark.parametrize("name", MODELS)
def test_only_gated_networks_have_gates_one_per_width_in_order(name):
    filters = list(range(2, 2 + len(template(name))))  # all distinct: a wrong order shows
    assert not any(isinstance(module, GateLayer) for module in build(name, filters).modules())
    assert [len(gate.weight) for gate in gates_of(build(name, filters, gated=True))] == filters


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("vgg", [64, 128, 256, 256, 512, 512, 512, 512]),
        ("resnet18", [64] * 5 + [128] * 4 + [256] * 4 + [512] * 4),
        (
            "mobilenetv2",
            [32, 16, 24, 24] + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3 + [320, 1280],
        ),
    ],
)
def test_networks_have_the_templates_of_the_paper(name, widths):
    assert template(name) == widths
    assert parameters(build(name)) == parameters(build(name, widths))


def test_each_built_in_network_has_a_record_for_the_tests():
    assert BUILT_IN.keys() == MODELS.keys(), (
        "BUILT_IN in tests/helpers/built_in.py needs a record for each of MODELS, and no other: "
        f"see {', '.join(BUILT_IN.keys() ^ MODELS.keys())}"
    )


@pytest.mark.parametrize("name", MODELS)
def test_filter_lists_that_fit_no_network_raise_value_error(name):
    good = template(name)
    for bad in (good[:-1], good + [8], [], good[:-1] + [0], [-1] + good[1:]):
        with pytest.raises(ValueError, match=r"widths|at least 1"):
            build_model(name, bad)
        for count in (count_params, count_macs):
            with pytest.raises(ValueError, match=r"widths|at least 1"):
                count(name, bad)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("surplus", [-1, 1])
def test_arrays_of_another_number_of_layers_raise_value_error(name, surplus):
    layers = len(template(name)) + surplus
    for filters in (np.full(layers, 8), np.full((layers, 5), 8)):
        for count in (count_params, count_macs):
            with pytest.raises(ValueError, match=f"{layers}"):
                count(name, filters)


@pytest.mark.parametrize("call", [build_model, count_params, count_macs, uniform_filters])
def test_an_unknown_model_raises_value_error_that_names_the_known(call):
    with pytest.raises(ValueError, match=f"'vgg16'.*{', '.join(MODELS)}"):
        call("vgg16", 1.0 if call is uniform_filters else [8])
