"""`python -m billvend`."""

import sys

from billvend.cli import main

if __name__ == "__main__":
    sys.exit(main())
