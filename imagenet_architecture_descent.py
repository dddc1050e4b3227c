"""Architecture descent on TinyImageNet: how many filters should each layer have?"""
from utils import options


def main() -> None:
    p = options.parser(__doc__, dataset="tinyimagenet", models=["resnet18", "mobilenetv2"])
    options.add_running(p)
    options.add_search(p, options.TINYIMAGENET)
    args = p.parse_args()
    from utils.descent import descend
    descend(args)


if __name__ == "__main__":
    options.run(main)
