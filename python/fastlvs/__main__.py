"""``python -m fastlvs``."""

import sys

from fastlvs.cli import main

if __name__ == "__main__":
    sys.exit(main())
