"""The services behind page, server and command line, which call nothing below them. Knows no page and no HTTP."""
