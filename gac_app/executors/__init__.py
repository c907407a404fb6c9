"""Where members run: a worker thread each, the batch scheduler, the prefix cache. Knows no rule and no answer."""
