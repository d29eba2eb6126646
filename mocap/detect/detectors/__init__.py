"""Detectors, one file each: the file is the name by which `detect` finds it."""
