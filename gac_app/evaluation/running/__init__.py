"""Systems that answer questions, and the cache that keeps their answers."""
