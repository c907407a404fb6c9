"""What a request meets first: connections, limits, bodies, the events of the page."""
