"""Devices, their memory, and which member runs where. Knows no model format."""
