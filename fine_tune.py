"""The magnitude baseline: removes the filters with the smallest weights from a trained network, and fine-tunes it."""
from utils import options


def main() -> None:
    p = options.parser(__doc__)
    options.add_running(p)
    options.add_training(p, lr=0.001, epochs="40, on TinyImageNet 20")
    p.add("--prune-fname", "the --save name that train_norm.py gave the base network", required=True, type=options.name_type,
          metavar="NAME")
    p.add("--ratio", "prune to the parameters of this uniform scaling", type=options.ratio, default=0.75)
    args = p.parse_args()
    options.fill_in(args, fine_tuning=True)
    from utils.finetune import fine_tune
    fine_tune(args)


if __name__ == "__main__":
    options.run(main)
