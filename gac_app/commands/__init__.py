"""The commands of `python -m gac_app`: each parses arguments, calls services, and prints. Knows no page."""
