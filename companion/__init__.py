"""Class entropy along diffusion trajectories: when a diffusion model decides what it draws."""

__version__ = "0.1.0"
