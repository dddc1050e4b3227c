"""Trains the base network of the magnitude baseline: the template, from scratch."""
from utils import options


def main() -> None:
    p = options.parser(__doc__)
    options.add_running(p)
    options.add_training(p)
    p.add("--ratio", "scale the template's widths first", type=options.ratio, default=1.0)
    args = p.parse_args()
    options.fill_in(args)
    from utils.finetune import train_base
    train_base(args)


if __name__ == "__main__":
    options.run(main)
