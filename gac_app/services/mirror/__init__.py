"""What leaves and enters as JSON Lines: exports, imports, and the mirror that a host keeps."""
