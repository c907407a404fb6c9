"""The GGUF file format: metadata, tensors, quantised blocks. Knows no engine that computes it."""
