"""The engine as a library: an ensemble in a program, its answers, its steps, and transformers' `generate` with it."""
