"""Votes as columns, and ratings, ranks and intervals from them."""
