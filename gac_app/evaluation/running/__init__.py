"""Systems that answer questions, and the journal that keeps their answers."""
