"""Members whose forward passes an inference server computes: llama.cpp's, vLLM's. Only their tokenisers are here."""
