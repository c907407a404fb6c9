"""Answers for programs: one system at a time, several choices, nothing stored."""
