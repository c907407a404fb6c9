"""Tokens of different vocabularies that begin alike: contested tokens and covers. Knows no forward pass."""
