"""Recipes: which terms, in which order, over which solver."""
