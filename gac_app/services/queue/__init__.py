"""Who decodes next: the queue, fair turns, limits of a client."""
