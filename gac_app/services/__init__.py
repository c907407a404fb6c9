"""The services behind page, server and command line, which call nothing below this package."""
