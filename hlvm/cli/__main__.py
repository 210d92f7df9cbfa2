"""``python -m hlvm.cli`` is the ``hlvm`` command."""

import sys

from hlvm.cli import main

if __name__ == "__main__":
    sys.exit(main())
