"""``python -m diffface``; what it does is in :mod:`diffface.cli`."""

import sys

from diffface.cli import main

if __name__ == "__main__":
    sys.exit(main())
