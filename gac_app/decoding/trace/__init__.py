"""What a session yields: events, the trace of each step, their JSON and digest. Knows not how a token was chosen."""
