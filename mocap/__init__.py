"""Markerless motion capture from calibrated videos to a moving body."""

__version__ = "0.1.0"
