"""Routes beside the page: health, export, the operator, signing in."""
