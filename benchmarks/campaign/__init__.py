"""The pieces of benchmarks/gpu.py: what is measured, how it is scheduled, stored and shown."""
