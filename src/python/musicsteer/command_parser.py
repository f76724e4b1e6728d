"""The command line of a Python command: help and errors as the C++ program prints them."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

COLUMNS = 80


class HelpFormatter(argparse.HelpFormatter):
    """Help of 80 columns; a text of several lines keeps them."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=COLUMNS)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is."""
        print(f"error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def command_parser(name: str, description: str, examples: str = "", **settings: Any) -> Parser:
    """The parser of `musicsteer NAME`; `examples` are printed as they are."""
    return Parser(
        prog=f"musicsteer {name}",
        description=description,
        epilog=examples,
        formatter_class=HelpFormatter,
        **settings,
    )
