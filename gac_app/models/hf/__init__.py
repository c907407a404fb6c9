"""Models computed by transformers, on a GPU, a CPU, or spread over several."""
