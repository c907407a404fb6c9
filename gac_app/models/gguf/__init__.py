"""The GGUF file format: metadata, tensors, quantised blocks. Knows no engine that computes it."""

from gac_app.models.gguf.blocks import Blocks, blocks_of, together
from gac_app.models.gguf.reading import Unsuited, read_gguf

__all__ = ["Blocks", "Unsuited", "blocks_of", "read_gguf", "together"]
