"""Judged battles as files: for trainers, tables and publication."""
