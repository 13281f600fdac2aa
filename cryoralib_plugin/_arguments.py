# SPDX-License-Identifier: GPL-3.0-or-later
"""A program's command line, made from its parameter declarations."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn, Type, TypeVar

from .contract._codec import flat_from_json, from_flat, nearest, to_json
from .contract._param import ConfigError, Param, groups_of, iter_params, params_of

Config = TypeVar("Config")

_METAVAR = {int: "N", float: "X", str: "TEXT"}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are `ConfigError`, printed by the caller like all others."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}\n{self.prog} --help lists all options")


def flag_of(name: str) -> str:
    """The flag of a parameter: n_classes gives --n-classes."""
    return "--" + name.replace("_", "-")


def parser_for(config_class: Any, description: str) -> argparse.ArgumentParser:
    """Flags for every parameter, in the groups of the form, and --config FILE."""
    parser = _Parser(
        prog=f"python -m cryoralib_plugin {config_class.program}",
        usage=f"python -m cryoralib_plugin {config_class.program} [--config FILE] [options]",
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="read parameters from FILE (JSON); flags override it"
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="write the parameters as JSON, ready for --config, and stop",
    )
    for _, group_class in groups_of(config_class):
        group = parser.add_argument_group(group_class.title)
        for name, declared in params_of(group_class):
            _add_flag(group, name, declared)
    return parser


def read_config(config_class: Type[Config], description: str, arguments: List[str]) -> Config:
    """The checked config that these command-line arguments describe.

    ``--help`` and ``--print-config`` write to the screen and raise SystemExit(0).
    """
    parser = parser_for(config_class, description)
    problems = _answers_to_switches(arguments, config_class)
    if problems:
        raise ConfigError("\n".join(problems))
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise ConfigError("\n".join(_unknown_options(unknown, config_class)))
    values: Dict[str, Any] = vars(given)
    path = values.pop("config", None)
    only_print = values.pop("print_config", False)
    if path is not None:
        values = {**flat_from_json(_text_of(Path(path)), config_class), **values}
    config = from_flat(config_class, values)
    if only_print:
        sys.stdout.write(to_json(config))
        raise SystemExit(0)
    return config


def _add_flag(group: Any, name: str, declared: Param) -> None:
    """One parameter as a flag; true-or-false ones also get a --no- form."""
    options: Dict[str, Any] = {"dest": name, "help": _help_of(declared)}
    if declared.kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif declared.choices is not None:
        options["choices"] = declared.choices
    else:
        options["metavar"] = "NUMBERS" if declared.numbers else _METAVAR[declared.kind]
        options["type"] = _reader_of(declared)
    group.add_argument(flag_of(name), **options)


def _help_of(declared: Param) -> str:
    """What the parameter does, with its unit, bounds and default."""
    bounds = "" if declared.choices is not None else declared.bounds_in_words
    default = declared.default
    if declared.kind is bool:
        default = "yes" if default else "no"
    facts = [
        f"in {declared.unit}" if declared.unit else "",
        bounds,
        f"only when {declared.when}" if declared.when else "",
        "required" if declared.required else f"default: {default if default != '' else 'none'}",
    ]
    text = f"{declared.help.rstrip()} [{'; '.join(fact for fact in facts if fact)}]"
    return text.replace("%", "%%")


def _reader_of(declared: Param) -> Callable[[str], Any]:
    """What turns the text of a flag into a value, with a complaint in words."""

    def read(text: str) -> Any:
        try:
            return declared.kind(text)
        except ValueError:
            wanted = "a whole number" if declared.kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}") from None

    return read


def _answers_to_switches(arguments: List[str], config_class: type) -> List[str]:
    """One sentence for every true-or-false option that is given a value, which it cannot take."""
    problems = []
    for _, _, name, declared in iter_params(config_class):
        if declared.kind is not bool:
            continue
        yes = flag_of(name)
        no = "--no-" + yes[2:]
        for word, after in zip(arguments, [*arguments[1:], "-"]):
            flag, equals, value = word.partition("=")
            if flag in (yes, no) and (equals or not after.startswith("-")):
                problems.append(
                    f"{flag} takes no value, but is given {value if equals else after!r}: "
                    f"write {yes} for yes, {no} for no"
                )
    return problems


def _unknown_options(unknown: List[str], config_class: type) -> List[str]:
    """One sentence for every argument that is no option, with the nearest one that is."""
    known = [flag_of(name) for _, _, name, _ in iter_params(config_class)] + ["--config"]
    problems = []
    # What follows an unknown option is its value, not one more mistake.
    for word in [word for word in unknown if word.startswith("-")] or unknown:
        like = nearest(word.split("=")[0].replace("_", "-"), known)
        hint = f"; did you mean {like}?" if like else ""
        problems.append(f"unknown option: {word}{hint}")
    return problems


def _text_of(path: Path) -> str:
    """The text of a configuration file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration {path} is not a text file (UTF-8)") from error
