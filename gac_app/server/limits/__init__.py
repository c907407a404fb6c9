"""What one client may take: connections, requests, bytes; and who a client is."""
