"""`python -m gac_app`."""

from gac_app.cli import main

if __name__ == "__main__":
    main()
