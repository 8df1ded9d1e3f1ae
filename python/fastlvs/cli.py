"""The command ``fastlvs``, which is ``python -m fastlvs``: one module for each subcommand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from textwrap import dedent

import fastlvs
from fastlvs import demo, real_server, run
from fastlvs.errors import FastlvsError

__all__ = ["main"]

COMMANDS = (demo, run, real_server)
"""Each has ``add(subparsers)``, whose parser sets ``run``: the function that takes the arguments and gives the
exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and gives its exit status."""
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except FastlvsError as error:
        print(f"fastlvs: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastlvs",
        description="The Linux Virtual Server in user space.",
        epilog=dedent("""\
            exit status: 0 all right, 1 failure, 2 command line, 3 configuration, 4 missing capability,
            5 missing interface or program. `fastlvs COMMAND --help` tells more.
            """),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fastlvs {fastlvs.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers)
    return parser
