"""Where members run: worker threads, the batch scheduler, the prefix cache. Knows no rule and no answer."""
