"""Benchmarks of the engine, as ratios: both sides of a comparison run in turn, so that a busy machine slows both."""
