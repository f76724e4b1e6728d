"""Sweeps on clusters: shards on SLURM or Ray, and their merge."""
