"""Rotations, cameras and robust kernels: plain vectorised functions."""
