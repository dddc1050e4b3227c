"""A whole experiment: its jobs, their state, and running them on this machine or on Slurm."""
