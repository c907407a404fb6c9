"""The paper: members decode together, one union token at a time. Knows no thread, no device, no page, no storage."""
