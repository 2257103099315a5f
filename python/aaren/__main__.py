"""The program ``aaren``, as ``python -m aaren`` and as the command that the package installs."""

import signal
import sys

from ._aaren import main as _main


def main() -> int:
    """Runs the program with the arguments of the process and gives its exit code."""
    # The program handles Ctrl-C itself: it saves and ends with the exit code 130.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _main(["aaren", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
