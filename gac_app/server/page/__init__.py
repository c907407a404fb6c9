"""The mounted page: the admission of its events, its sessions, its document, its state."""
