"""GGUF files computed on a CPU by onnxruntime, from a graph made of the file."""
