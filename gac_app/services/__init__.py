"""What the surfaces (page, server, command line) call; none of them reaches below this package."""
