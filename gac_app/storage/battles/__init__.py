"""Battles and their judgements: written, read, imported."""
