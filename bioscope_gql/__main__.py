"""``python -m bioscope_gql`` is the same as ``bioscope``."""

import sys

from bioscope_gql.cli import main

if __name__ == "__main__":
    sys.exit(main())
