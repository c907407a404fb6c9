"""One member's part in a session: what it has read, what it is to read. Knows no other member."""
