"""The page on this machine or on Hugging Face Spaces: `python app.py`, with the options of `serve`."""

import sys

from gac_app.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "serve")
    main()
