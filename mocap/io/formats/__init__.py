"""Formats of results, one file each, found by its name: see :mod:`mocap.io.formats.base`."""
