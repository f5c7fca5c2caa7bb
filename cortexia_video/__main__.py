"""`python -m cortexia_video` is `cortexia`."""

import os
import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is imported is one line, too."""
    try:
        before = signal.signal(signal.SIGINT, lambda *_: _interrupt())
        from cortexia_video.cli import main as run

        signal.signal(signal.SIGINT, before)
    except KeyboardInterrupt:
        _interrupt()
    run()


def _interrupt() -> None:
    """End at once: nothing was begun."""
    os.write(sys.stderr.fileno() if sys.stderr else 2, b"cortexia: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
