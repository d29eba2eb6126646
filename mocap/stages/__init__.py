"""Stages: thin adapters, one file per YAML name, found by the name of the file."""
