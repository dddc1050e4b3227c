"""The options that the benchmarks of single steps share."""
import argparse


def step_options(description: str) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--dataset", default="digits")
    p.add_argument("--data", default="data")
    p.add_argument("--ratio", type=float, default=0.5)
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--device", default="auto")
    return p
