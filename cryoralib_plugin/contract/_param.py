# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare a parameter once: default, label, help, unit, bounds.

The form, the command line, the JSON file, the checks and their tests are generated from this.

A program's parameters are a frozen dataclass (the config) whose fields are groups; a group is a
frozen dataclass whose fields are parameters::

    @dataclass(frozen=True)
    class Search:
        title: ClassVar[str] = "Search"
        n_classes: int = param(10, label="Classes", help="How many ...", minimum=1)

    @dataclass(frozen=True)
    class MultireferenceConfig:
        program: ClassVar[str] = "mra"
        search: Search = field(default_factory=Search)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, get_type_hints

_KINDS = (bool, int, float, str)


class ConfigError(ValueError):
    """A parameter that cannot be used; the text is written for the user at the screen."""


@dataclass(frozen=True)
class Param:
    """What is known about one parameter beside its name.

    `kind` is the type of the default. `numbers` marks a text that holds numbers separated by
    spaces or commas (one per stage); the bounds then hold for each of them. `required` means that
    an empty text is refused. `when` says when the parameter matters, as a condition over flat
    names, such as ``"preset == 'recommended'"``; a form hides the parameter otherwise.
    """

    default: Any
    label: str
    help: str
    unit: str = ""
    minimum: Optional[float] = None
    maximum: Optional[float] = None
    choices: Optional[Tuple[str, ...]] = None
    expert: bool = False
    when: str = ""
    numbers: bool = False
    required: bool = False

    @property
    def kind(self) -> Any:
        """bool, int, float or str."""
        return type(self.default)

    @property
    def bounds_in_words(self) -> str:
        """For help texts and messages: "at least 1", "between 0 and 360", "one of a, b"."""
        if self.choices is not None:
            return "one of " + ", ".join(self.choices)
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            return f"between {low:.12g} and {high:.12g}"
        if low is not None:
            return f"at least {low:.12g}"
        if high is not None:
            return f"at most {high:.12g}"
        return ""


def param(
    default: Any,
    *,
    label: str,
    help: str,
    unit: str = "",
    minimum: Optional[float] = None,
    maximum: Optional[float] = None,
    choices: Optional[Tuple[str, ...]] = None,
    expert: bool = False,
    when: str = "",
    numbers: bool = False,
    required: bool = False,
) -> Any:
    """A dataclass field that carries its `Param`; see there for the arguments."""
    if type(default) not in _KINDS:
        raise TypeError(
            f"the default of {label!r} must be a bool, int, float or str, not {default!r}"
        )
    declared = Param(
        default, label, help, unit, minimum, maximum, choices, expert, when, numbers, required
    )
    if (choices is not None or numbers or required) and declared.kind is not str:
        raise TypeError(f"{label!r}: choices, numbers and required are for text, not {default!r}")
    if choices is not None and default not in choices:
        raise TypeError(f"the default of {label!r}, {default!r}, is none of {choices}")
    return field(default=default, metadata={"param": declared})


def groups_of(config_class: Any) -> Iterator[Tuple[str, Any]]:
    """The groups of a config class in form order, as (name, group class)."""
    hints = get_type_hints(config_class)
    for group in fields(config_class):
        yield group.name, hints[group.name]


def params_of(group_class: Any) -> Iterator[Tuple[str, Param]]:
    """The parameters of one group in form order, as (name, Param)."""
    for declared in fields(group_class):
        found = declared.metadata.get("param")
        if found is None:
            raise TypeError(f"{group_class.__name__}.{declared.name} is not declared with param()")
        annotation = getattr(declared.type, "__name__", declared.type)
        if annotation != found.kind.__name__:
            raise TypeError(
                f"{group_class.__name__}.{declared.name} is annotated {annotation}, "
                f"but its default {found.default!r} is {found.kind.__name__}"
            )
        yield declared.name, found


def iter_params(config_class: Any) -> Iterator[Tuple[str, Any, str, Param]]:
    """Every parameter of a program in form order, as (group name, group class, name, Param).

    Names must be unique across groups, because flags and form names are flat.
    """
    seen: Dict[str, str] = {}
    for group_name, group_class in groups_of(config_class):
        for name, declared in params_of(group_class):
            if name in seen:
                raise TypeError(
                    f"{config_class.__name__}: {name} is in both {seen[name]} and {group_name}"
                )
            seen[name] = group_name
            yield group_name, group_class, name, declared


def parse_numbers(text: str) -> Tuple[float, ...]:
    """The numbers in a text such as "3 2 1" or "3, 2, 1"; ValueError where it holds others."""
    return tuple(float(word) for word in re.split(r"[\s,;]+", text.strip()) if word)


def problem_with(name: str, declared: Param, value: Any) -> str:
    """What is wrong with a value, in one sentence; empty where nothing is."""
    unit = f" {declared.unit}" if declared.unit else ""
    checked: Tuple[float, ...] = ()
    if type(value) is not declared.kind:
        wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        return f"{name} ({declared.label}) must be {wanted[declared.kind]}, not {value!r}"
    if declared.required and not value.strip():
        return f"{name} ({declared.label}) must be given"
    if declared.choices is not None and value not in declared.choices:
        return f"{name} ({declared.label}) must be {declared.bounds_in_words}, not {value!r}"
    if declared.numbers:
        try:
            checked = parse_numbers(value)
        except ValueError:
            return (
                f"{name} ({declared.label}) must be numbers separated by spaces, "
                f'such as "3 2 1", not {value!r}'
            )
    elif declared.kind in (int, float):
        checked = (value,)
    for number in checked:
        if not math.isfinite(number):
            return f"{name} ({declared.label}) must be a finite number, not {number}"
        too_low = declared.minimum is not None and number < declared.minimum
        too_high = declared.maximum is not None and number > declared.maximum
        if too_low or too_high:
            bounds = declared.bounds_in_words
            return f"{name} ({declared.label}) must be {bounds}{unit}, not {number:.12g}"
    return ""


def raise_together(*checks: Callable[[], Any]) -> None:
    """Make all checks, then raise what one complains of, or the complaints of several as one.

    Checks complain by ValueError or OSError, whose text is for the user.
    """
    found: List[Exception] = []
    for check in checks:
        try:
            check()
        except (ValueError, OSError) as error:
            found.append(error)
    if len(found) == 1:
        raise found[0]
    if found:
        raise ConfigError("\n".join(map(str, found)))


def validate(config: Any) -> None:
    """Refuse, in one `ConfigError` that names them all, values that cannot be used.

    A config class may add checks that join several parameters as a method ``problems()``, which
    returns sentences.
    """
    problems = []
    for group_name, _, name, declared in iter_params(type(config)):
        problem = problem_with(name, declared, getattr(getattr(config, group_name), name))
        if problem:
            problems.append(problem)
    if hasattr(config, "problems"):
        try:
            problems.extend(config.problems())
        except (TypeError, ValueError, LookupError):
            # Nothing can be said of parameters together while one of them makes no sense.
            if not problems:
                raise
    if problems:
        raise ConfigError("\n".join(problems))
