"""Runs a script: its exit status, and one line instead of a traceback for errors to mend."""

import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from model.errors import UnreadableNetwork
from utils.errors import UserError, is_out_of_memory


class Terminated(BaseException):
    """SIGTERM as an exception, so that files are left whole."""


def run(main: Callable[[], None], *, resumes: bool = True) -> None:
    """Run ``main``. The exit status is 2 for an error, 130 for Ctrl-C and 143 for SIGTERM.

    ``resumes``: True if work with a --save name can be continued with --resume.
    """
    script = Path(sys.argv[0]).name

    def terminate(signum: int, frame: Any) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        main()
    except (KeyboardInterrupt, Terminated) as stop:
        # say how to continue
        again = [
            argument for argument in sys.argv[1:] if argument not in ("--overwrite", "--resume")
        ]
        hint = f"; {stop}" if stop.args else ""  # whoever stopped it may have a hint too
        if resumes and any(argument.split("=")[0] == "--save" for argument in again):
            hint = (
                f"; finished epochs are saved. Go on with: python3 {script} {shlex.join(again)} "
                "--resume"
            )
        _last_words(f"{script}: stopped{hint}", 130 if isinstance(stop, KeyboardInterrupt) else 143)
    except (UserError, UnreadableNetwork) as error:
        _last_words(f"{script}: error: {error}", 2)
    except BrokenPipeError:
        sys.stdout = None  # the reader of our output has gone: there is nothing to flush to
        raise SystemExit(141) from None

    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _last_words(f"{script}: error: {where}{error.strerror or error}", 2)

    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _last_words(
            f"{script}: error: out of memory; use a smaller --batch-size or ratio "
            f"({str(error)[:150]})",
            2,
        )


def _last_words(line: str, status: int) -> NoReturn:
    """Print a line on stderr, and exit."""
    if sys.stdout:  # None where the script was started without one
        sys.stdout.flush()
    print(" ".join(line.split()), file=sys.stderr, flush=True)
    raise SystemExit(status)
