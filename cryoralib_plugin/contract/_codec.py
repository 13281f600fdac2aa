# SPDX-License-Identifier: GPL-3.0-or-later
"""A config to JSON and back, and to a flat mapping of names and back.

The JSON file is what passes between Scipion and the engine, and what a run is repeated from::

    {"program": "mra", "version": "1.0.0", "files": {...}, "search": {"n_classes": 10, ...}}
"""

from __future__ import annotations

import difflib
import json
from typing import Any, Dict, Iterable, List, Mapping, Type, TypeVar

from cryoralib_plugin import __version__

from ._param import ConfigError, Param, groups_of, iter_params, params_of, validate

Config = TypeVar("Config")


def to_flat(config: Any) -> Dict[str, Any]:
    """Every parameter of a config as {name: value}."""
    return {
        name: getattr(getattr(config, group_name), name)
        for group_name, _, name, _ in iter_params(type(config))
    }


def from_flat(config_class: Type[Config], values: Mapping[str, Any]) -> Config:
    """The config with these values and defaults for the rest; checked.

    Unknown names, values of a wrong type and values out of bounds raise `ConfigError`.
    """
    known = [name for _, _, name, _ in iter_params(config_class)]
    problems = _unknown(values, known, "parameter")
    if problems:
        raise ConfigError("\n".join(problems))
    config = config_class(
        **{
            group_name: group_class(
                **{
                    name: _widened(declared, values[name])
                    for name, declared in params_of(group_class)
                    if name in values
                }
            )
            for group_name, group_class in groups_of(config_class)
        }
    )
    validate(config)
    return config


def to_json(config: Any) -> str:
    """The config as JSON text, with the program's name and the package's version."""
    record: Dict[str, Any] = {"program": config.program, "version": __version__}
    for group_name, group_class in groups_of(type(config)):
        group = getattr(config, group_name)
        record[group_name] = {name: getattr(group, name) for name, _ in params_of(group_class)}
    return json.dumps(record, indent=2) + "\n"


def flat_from_json(text: str, config_class: Any) -> Dict[str, Any]:
    """The values named in the text as {name: value}; parameters left out are left out here too.

    Raises `ConfigError` for text that is not JSON, another version or program, unknown groups
    and unknown names (with the nearest known one).
    """
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the configuration is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ConfigError("the configuration must be a JSON object, {...}")
    _check_origin(record, config_class)
    groups = dict(groups_of(config_class))
    sections = {key: value for key, value in record.items() if key not in ("program", "version")}
    problems = _unknown(sections, groups, "section")
    flat: Dict[str, Any] = {}
    for group_name, group_class in groups.items():
        section = sections.get(group_name, {})
        if not isinstance(section, dict):
            problems.append(f"section {group_name} must be a JSON object, not {section!r}")
            continue
        known = [name for name, _ in params_of(group_class)]
        problems += _unknown(section, known, f"parameter in section {group_name}")
        flat.update(section)
    if problems:
        raise ConfigError("\n".join(problems))
    return flat


def from_json(text: str, config_class: Type[Config]) -> Config:
    """The config written by `to_json`; checked as in `from_flat` and `flat_from_json`."""
    return from_flat(config_class, flat_from_json(text, config_class))


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like this one; empty where none is alike."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return found[0] if found else ""


def _unknown(given: Iterable[str], known: Iterable[str], what: str) -> List[str]:
    """One sentence for every name that is not known."""
    known = list(known)
    problems = []
    for name in given:
        if name not in known:
            like = nearest(name, known)
            hint = f"did you mean {like}?" if like else "known are: " + ", ".join(known)
            problems.append(f"unknown {what}: {name}; {hint}")
    return problems


def _check_origin(record: Mapping[str, Any], config_class: Any) -> None:
    """Refuse a configuration of another version or another program."""
    version = record.get("version")
    if version is None:
        raise ConfigError(f'the configuration names no version; add "version": "{__version__}"')
    if version != __version__:
        raise ConfigError(
            f"the configuration was written by cryoralib {version}, but this is cryoralib "
            f"{__version__}; write it anew, or install cryoralib {version}"
        )
    program = record.get("program", config_class.program)
    if program != config_class.program:
        raise ConfigError(
            f"the configuration is for the program {program}, not for {config_class.program}"
        )


def _widened(declared: Param, value: Any) -> Any:
    """A whole number given for a float parameter, as a float."""
    return float(value) if declared.kind is float and type(value) is int else value
