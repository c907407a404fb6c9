"""The commands of `python -m gac_app`: each parses its arguments, asks the services, and prints."""
