"""GGUF files computed on a CPU by onnxruntime, from a graph made of the file. Knows no union vocabulary.

Others import its modules, on use: `parts` finds out whether a file is suited before `model` loads onnxruntime.
"""
