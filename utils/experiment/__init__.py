"""A whole experiment: its jobs, how far they are, and running them on this machine or on Slurm."""
