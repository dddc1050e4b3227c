"""Reads a network from its graph, shows the widths it found, and checks that the network can be
searched with them."""

from utils.script import run
from utils.settings import NetworkShape, Task
from utils.settings.parser import Parser


def main() -> None:
    _, task, asked = Parser(__doc__).parse_settings(Task(), NetworkShape())

    from model import count_macs, count_params, described, pixels_in, uniform_filters
    from utils.data import shape_of
    from utils.data.channels import channels_for
    from utils.search.check import check

    channels = channels_for(task.model, task.dataset, asked.image_size, asked.channels)
    shape = shape_of(task.dataset, asked.image_size, channels)
    shape["num_classes"] = asked.num_classes or shape["num_classes"]
    print(f"{task.model}, {shape['num_classes']} classes, images of {pixels_in(shape)} pixels")
    print(*described(task.model, **shape), sep="\n")
    for ratio in (1, 0.25):
        filters = uniform_filters(task.model, ratio)
        params, macs = (
            count_params(task.model, filters, **shape),
            count_macs(task.model, filters, **shape),
        )
        print(f"ratio {ratio:g}: {params:,} parameters, {macs / 1e6:.1f} MMACs")
    check(task.model, **shape)
    print("ready")


if __name__ == "__main__":
    run(main)
