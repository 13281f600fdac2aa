# SPDX-License-Identifier: GPL-3.0-or-later
"""Scipion forms from the declared parameters, and a program's config from a filled form."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Set,
    Tuple,
    Type,
    TypeVar,
)

import pyworkflow.protocol.params as params
from pyworkflow.protocol.constants import LEVEL_ADVANCED, LEVEL_NORMAL

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract._param import (
    ConfigError,
    Param,
    groups_of,
    iter_params,
    params_of,
    problem_with,
)

Config = TypeVar("Config")
AddFields = Callable[[params.Form], None]

FILLED_BY_SCIPION = ("backend", "gpus", "threads", "expected_ranks", "resume")
"""Parameters that Scipion's own fields decide: GPUs, threads, MPIs and the run mode."""

_WIDGETS = {
    bool: params.BooleanParam,
    int: params.IntParam,
    float: params.FloatParam,
    str: params.StringParam,
}


def form_name(name: str) -> str:
    """The name of a parameter in a form: n_classes becomes nClasses."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def form_params(config_class: type) -> Iterator[Tuple[str, Param]]:
    """The parameters a form shows, in order, as (name, Param)."""
    for _, group_class, name, declared in iter_params(config_class):
        if getattr(group_class, "in_form", True) and name not in FILLED_BY_SCIPION:
            yield name, declared


def shown_params(protocol: Any, config_class: type) -> Iterator[Tuple[str, Param]]:
    """Those of `form_params` that the form of this protocol has."""
    for name, declared in form_params(config_class):
        if protocol.getParam(form_name(name)) is not None:
            yield name, declared


def add_sections(
    form: params.Form,
    config_class: type,
    *,
    lead: Optional[Mapping[str, AddFields]] = None,
    tail: Optional[Mapping[str, AddFields]] = None,
    hidden: Tuple[str, ...] = (),
    defaults: Optional[Mapping[str, Any]] = None,
) -> None:
    """Add the groups of a config to a form, a tab for each.

    A group of expert parameters only would be an empty tab to most users: it becomes a frame in
    the tab before it. `lead` and `tail` name functions, by the title of a group, that add fields of
    the protocol's own at the head and the end of its tab. `hidden` parameters are left out, with
    those that matter only for some of their values. `defaults` are those that differ in this
    protocol.
    """
    shown = {
        name: replace(declared, default=(defaults or {}).get(name, declared.default))
        for name, declared in form_params(config_class)
        if name not in hidden and not _names_in(declared.when) & set(hidden)
    }
    for _, group_class in groups_of(config_class):
        names = [name for name, _ in params_of(group_class) if name in shown]
        add_lead = (lead or {}).get(group_class.title)
        if not names and add_lead is None:
            continue
        target = form
        if add_lead is None and all(shown[name].expert for name in names):
            target = form.addGroup(group_class.title, expertLevel=LEVEL_ADVANCED)
        else:
            form.addSection(label=group_class.title)
        if add_lead is not None:
            add_lead(form)
        for name in names:
            _add_param(target, name, shown[name], shown)
        add_tail = (tail or {}).get(group_class.title)
        if add_tail is not None:
            add_tail(form)


def condition(when: str, declared: Mapping[str, Param]) -> str:
    """A condition over flat names as Scipion evaluates it.

    Names become form names, and the text of a choice becomes its index, which is what a form
    stores: ``preset == 'recommended'`` becomes ``preset == 0``.
    """
    return ast.unparse(_ToForm(declared).visit(ast.parse(when, mode="eval")))


def _names_in(when: str) -> Set[str]:
    """The parameters that a condition speaks of."""
    nodes = ast.walk(ast.parse(when, mode="eval")) if when else ()
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def values_of(protocol: Any, config_class: type) -> Dict[str, Any]:
    """The values of a filled form as {name: value}.

    A parameter that the form hides keeps its declared default, so that what the user cannot see
    does not count.
    """
    values: Dict[str, Any] = {}
    for name, declared in shown_params(protocol, config_class):
        field = form_name(name)
        if not protocol.evalParamCondition(field):
            continue
        value = protocol.getAttributeValue(field)
        if declared.choices is not None and value is not None:
            value = declared.choices[value]
        elif declared.kind is str and value is None:
            value = ""
        values[name] = value
    return values


def config_of(protocol: Any, config_class: Type[Config], **others: Any) -> Config:
    """The config of a filled form with the values a form does not show; checked."""
    return from_flat(config_class, {**values_of(protocol, config_class), **others})


def new_problems(protocol: Any, config_class: type, error: ConfigError) -> List[str]:
    """The sentences of a ConfigError, unless Scipion says the same field by field anyway.

    Parameters are called by the labels that the form shows.
    """
    labels: Dict[str, str] = {}
    for name, declared in shown_params(protocol, config_class):
        shown = protocol.getParam(form_name(name))
        if protocol.evalParamCondition(form_name(name)):
            if shown.validate(protocol.getAttributeValue(form_name(name))):
                return []
        if "_" in name:
            labels[name] = declared.label
    words = re.compile(r"\b\w+\b")
    return [
        words.sub(lambda found: labels.get(found.group(), found.group()), line)
        for line in str(error).splitlines()
    ]


class DeclaredBounds(params.Validator):
    """Check a value against its declaration; the sentence is the one of the command line."""

    def __init__(self, name: str, declared: Param):
        self._name = name
        self._declared = declared

    def __call__(self, value: Any) -> List[str]:
        declared = self._declared
        if declared.choices is not None:
            known = isinstance(value, int) and 0 <= value < len(declared.choices)
            return [] if known else [f"must be {declared.bounds_in_words}"]
        if value is None and declared.kind is str:
            value = ""
        problem = problem_with(self._name, declared, value)
        # Scipion puts the label before the sentence.
        return [problem.replace(f"{self._name} ({declared.label}) ", "", 1)] if problem else []


def _add_param(target: Any, name: str, declared: Param, shown: Mapping[str, Param]) -> None:
    """Add one declared parameter to the form's last section, or to a frame in it."""
    unit = re.sub(r"\bA\b", "Å", declared.unit)
    arguments: Dict[str, Any] = {
        "label": f"{declared.label} ({unit})" if unit else declared.label,
        "help": _help(declared),
        "default": declared.default,
        "expertLevel": LEVEL_ADVANCED if declared.expert else LEVEL_NORMAL,
    }
    if declared.when:
        arguments["condition"] = condition(declared.when, shown)
    widget = _WIDGETS[declared.kind]
    if declared.choices is not None:
        widget = params.EnumParam
        arguments["choices"] = list(declared.choices)
        arguments["default"] = declared.choices.index(declared.default)
    added = target.addParam(form_name(name), widget, **arguments)
    added.validators = [DeclaredBounds(name, declared)]


def _help(declared: Param) -> str:
    """The declared help with the bounds in words."""
    bounds = "" if declared.choices is not None else declared.bounds_in_words
    unit = f" {declared.unit}" if declared.unit else ""
    return f"{declared.help}\n\nAllowed: {bounds}{unit}." if bounds else declared.help


class _ToForm(ast.NodeTransformer):
    """Replaces flat names by form names and the texts of choices by their indices."""

    def __init__(self, declared: Mapping[str, Param]):
        self._declared = declared

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        sides = [node.left, *node.comparators]
        choices = next(
            (
                self._declared[side.id].choices
                for side in sides
                if isinstance(side, ast.Name) and self._declared[side.id].choices
            ),
            None,
        )
        if choices is not None:
            for side in sides:
                for constant in ast.walk(side):
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                        constant.value = choices.index(constant.value)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(id=form_name(node.id), ctx=node.ctx)
