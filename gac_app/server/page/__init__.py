"""The mounted page: its document, its sessions, its state."""
