"""Parses the arguments of `trl dpo` with TRL's own parser and starts nothing.

Arguments: those behind `trl dpo`. Last line of standard output: {"problem": null or what the parser says}.
"""

import contextlib
import io
import json
import sys


def problem_of(arguments: list) -> "str | None":
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            from trl.scripts.dpo import make_parser

            make_parser().parse_args_and_config(args=arguments, return_remaining_strings=False)
    except SystemExit:
        lines = [line for line in said.getvalue().strip().splitlines() if line.strip()]
        return lines[-1] if lines else "TRL's parser ended"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


print("\n" + json.dumps({"problem": problem_of(sys.argv[1:])}))
