"""One language model in its own token ids. Knows no union vocabulary and no other model."""
