"""Objective terms, one file each, found by the name of their file."""
