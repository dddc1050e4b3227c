"""Trains networks from scratch at several scaling ratios: NeuralScale's, uniform ones or MorphNet's."""
from utils import options


def main() -> None:
    p = options.parser(__doc__)
    options.add_sweep(p)
    args = p.parse_args()
    options.fill_in(args)
    from utils.sweep import sweep
    sweep(args)


if __name__ == "__main__":
    options.run(main)
