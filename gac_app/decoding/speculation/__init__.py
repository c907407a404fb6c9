"""Drafts, and what verifies them. Does not know how steps follow one another."""
