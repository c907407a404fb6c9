"""One member's part in a session: what it has read, and what it still has to read. Knows no other member."""
