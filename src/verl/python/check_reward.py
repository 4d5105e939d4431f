"""Imports a reward function's file as verl will, and looks whether the function is there and takes what verl gives it.

Arguments: file, name of the function, names of further arguments. Last line of standard output: {"problem": null or what is wrong}.
"""

import importlib.util
import inspect
import json
import sys


def problem_of(path: str, name: str, further: list) -> "str | None":
    spec = importlib.util.spec_from_file_location("custom_module", path)
    if spec is None or spec.loader is None:
        return f"{path} is no Python file (its name must end in .py)"
    module = importlib.util.module_from_spec(spec)
    sys.modules["custom_module"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # SystemExit too: it would end the trainer's workers
        return f"importing {path} fails: {type(error).__name__}: {error}"
    function = getattr(module, name, None)
    if function is None:
        return f"{path} has no {name}"
    if not callable(function):
        return f"{name} in {path} is no function"
    given = {"data_source": "", "solution_str": "", "ground_truth": "", "extra_info": {}, **{key: None for key in further}}
    try:
        inspect.signature(function).bind(**given)
    except TypeError as error:
        return f"{name} in {path} cannot be called with ({', '.join(given)}): {error}"
    except ValueError:  # no signature to look at
        return None
    return None


print("\n" + json.dumps({"problem": problem_of(sys.argv[1], sys.argv[2], sys.argv[3:])}))
