"""GGUF files computed, or only tokenised, by llama.cpp."""
