"""Runs: one prompt answered by all, followed, stored, revised, listed and shared; batches of them."""
