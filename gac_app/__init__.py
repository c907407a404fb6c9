"""GaC: ensembling language models token by token (arXiv 2406.12585), and seeing what the ensemble does."""

__version__ = "1.0.0"
