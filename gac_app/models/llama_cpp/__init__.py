"""GGUF files computed, or only tokenised, by llama.cpp. Knows no union vocabulary and no other engine.

Others import its modules, on use: `model` loads torch, while `library` also runs as a program that must start quickly.
"""
