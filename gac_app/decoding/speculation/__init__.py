"""Drafts, and what verifies them. Knows not how steps follow one another."""
