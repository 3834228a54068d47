"""What every `python -m deep.X` shares: errors on one line and a definite exit status."""

import sys
from collections.abc import Callable

import torch

from deep.run import Interrupted


def main_guard(program: Callable[[], object]) -> None:
    """Run a program; input it cannot use ends it with one line on stderr and status 2, Ctrl-C with status 130.

    The networks are small: on one thread torch is faster than on several, and leaves the others to the simulators.
    """
    torch.set_num_threads(1)
    try:
        program()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(130)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
