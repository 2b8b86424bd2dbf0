"""The commands of ``zoo``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from zoo.cli.output import write_any_character
from zoo.cli.parser import make_parser
from zoo.errors import CUT_OFF, CutOff, ZooError, cut_off, tell
from zoo.processes import exit_with_parent, remember_command, stop_on_signals


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done. 2: a mistake that the user can correct. 1: a mistake in zoo. 130 (interrupted) and 75 (cut off
    by missing memory, a full disk or the like): the same command resumes.
    """
    write_any_character()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("HYDRA_FULL_ERROR") == "1"
    arguments = [_expand_home(a) for a in arguments if a != "--debug"]
    try:
        if arguments[:1] == ["train"]:  # the rest is Hydra's grammar, not argparse's
            remember_command(arguments)
            exit_with_parent()
            stop_on_signals()
            from zoo.cli.train import train

            return train(arguments[1:])
        return _run_command(arguments)
    except KeyboardInterrupt:
        without = " without --again" if "--again" in arguments else ""
        tell(f"interrupted; the same command{without} goes on from where it stopped.")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, CutOff):
            tell(str(error))
            return CUT_OFF
        if isinstance(error, ZooError):
            tell(str(error))
            return 2
        reason = cut_off(error)
        if reason is not None:
            tell(f"{reason} The same command goes on from where it stopped.")
            return CUT_OFF
        if isinstance(error, OSError) and error.filename is not None:
            tell(f"{error.filename} cannot be used: {error.strerror}; give another place.")
            return 2
        tell(f"{type(error).__name__}: {error} (--debug shows where)")
        return 1


def _run_command(arguments: list[str]) -> int:
    parser = make_parser()
    arguments = _with_output(arguments)
    options, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(options, "overrides") or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # overrides may follow the flags
        options.overrides += rest
    return int(options.run(options))


def _with_output(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``-o -NAME`` as ``--out=-NAME``, since argparse takes no value with a dash.

    >>> _with_output(["compare", "runs", "-o", "-page", "--archive"])
    ['compare', 'runs', '--out=-page', '--archive']
    """
    joined: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        value = next(waiting, None) if argument in ("-o", "--out") else None
        joined.append(argument if value is None else f"--out={value}")
    return joined


def _expand_home(argument: str) -> str:
    """Replace the ``~`` of ``key=~/folder`` by the home directory: shells do not do so inside a word."""
    key, equals, value = argument.partition("=")
    return f"{key}={os.path.expanduser(value)}" if equals and value.startswith("~/") else argument


if __name__ == "__main__":
    sys.exit(main())
