"""Architecture descent on CIFAR10, CIFAR100, digits or a folder of images: how many filters should each layer have?"""
from utils import options


def main() -> None:
    p = options.parser(__doc__)
    options.add_running(p)
    options.add_search(p, options.CIFAR10)
    args = p.parse_args()
    from utils.descent import descend
    descend(args)


if __name__ == "__main__":
    options.run(main)
