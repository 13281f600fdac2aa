# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters declared once are checked, written and read back alike everywhere."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from cryoralib_plugin import __version__
from cryoralib_plugin._arguments import flag_of, parser_for, read_config
from cryoralib_plugin.contract._codec import from_flat, from_json, to_flat, to_json
from cryoralib_plugin.contract._param import (
    ConfigError,
    iter_params,
    param,
    params_of,
    parse_numbers,
    raise_together,
    validate,
)


@dataclass(frozen=True)
class Files:
    title: ClassVar[str] = "Files"
    in_form: ClassVar[bool] = False
    particles_file: str = param("", label="Particles", help="The particles.", required=True)


@dataclass(frozen=True)
class Search:
    title: ClassVar[str] = "Search"
    n_classes: int = param(10, label="Classes", help="How many.", minimum=1, maximum=500)
    wiener_snr: float = param(1.0, label="SNR", help="100 % guess.", minimum=0.01, unit="px")
    mirror: bool = param(True, label="Mirror", help="Try both hands.")
    shift_range_px: str = param(
        "3", label="Shift range", help="One per stage.", unit="px", minimum=0, numbers=True
    )
    backend: str = param("auto", label="Backend", help="Where.", choices=("auto", "cpu", "cuda"))


@dataclass(frozen=True)
class Config:
    program: ClassVar[str] = "toy"
    files: Files = field(default_factory=Files)
    search: Search = field(default_factory=Search)


VALUES = {
    "particles_file": "a.star",
    "n_classes": 4,
    "wiener_snr": 0.5,
    "mirror": False,
    "shift_range_px": "3 2 1",
    "backend": "cpu",
}
FLAGS = (
    "--particles-file a.star --n-classes 4 --wiener-snr 0.5 --no-mirror --backend cpu".split()
    + ["--shift-range-px", "3 2 1"]
)


def refusal_of(**values):
    with pytest.raises(ConfigError) as refused:
        from_flat(Config, {"particles_file": "a.star", **values})
    return str(refused.value)


def test_flags_json_and_mapping_give_equal_objects(tmp_path):
    mapped = from_flat(Config, VALUES)
    assert to_flat(mapped) == VALUES
    assert read_config(Config, "", FLAGS) == mapped
    assert from_json(to_json(mapped), Config) == mapped
    path = tmp_path / "config.json"
    path.write_text(to_json(mapped))
    assert read_config(Config, "", ["--config", str(path)]) == mapped


def test_flags_override_the_file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(to_json(from_flat(Config, VALUES)))
    config = read_config(Config, "", ["--config", str(path), "--n-classes", "7", "--mirror"])
    assert to_flat(config) == {**VALUES, "n_classes": 7, "mirror": True}


def test_misspelt_key_is_refused_with_the_nearest_name():
    assert refusal_of(n_clases=3) == "unknown parameter: n_clases; did you mean n_classes?"
    record = json.loads(to_json(from_flat(Config, VALUES)))
    record["search"]["n_clases"] = 3
    with pytest.raises(ConfigError, match="section search: n_clases; did you mean n_classes?"):
        from_json(json.dumps(record), Config)
    record["serch"] = record.pop("search")
    with pytest.raises(ConfigError, match="unknown section: serch; did you mean search?"):
        from_json(json.dumps(record), Config)


@pytest.mark.parametrize("word", ["--n-clases", "--n_classes", "--n-class"])
def test_misspelt_option_is_refused_with_the_nearest_flag(word):
    with pytest.raises(ConfigError, match=f"unknown option: {word}; did you mean --n-classes?"):
        read_config(Config, "", ["--particles-file", "a.star", word, "3"])


def test_other_version_and_other_program_are_refused():
    record = json.loads(to_json(from_flat(Config, VALUES)))
    with pytest.raises(ConfigError, match=f"by cryoralib 0.0.1, but this is .*{__version__}"):
        from_json(json.dumps({**record, "version": "0.0.1"}), Config)
    with pytest.raises(ConfigError, match="for the program rfa, not for toy"):
        from_json(json.dumps({**record, "program": "rfa"}), Config)
    del record["version"]
    with pytest.raises(ConfigError, match="names no version"):
        from_json(json.dumps(record), Config)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"version": 1'])
def test_text_that_is_no_configuration_is_refused(text):
    with pytest.raises(ConfigError, match="JSON"):
        from_json(text, Config)


def test_values_of_another_type_are_refused_in_words():
    assert "n_classes (Classes) must be a whole number, not 2.5" == refusal_of(n_classes=2.5)
    assert "must be a whole number, not True" in refusal_of(n_classes=True)
    assert "mirror (Mirror) must be true or false, not 1" == refusal_of(mirror=1)
    assert "must be a number, not 'high'" in refusal_of(wiener_snr="high")
    assert "must be a finite number" in refusal_of(wiener_snr=math.nan)
    assert "must be text, not 3" in refusal_of(shift_range_px=3)
    assert "numbers separated by spaces" in refusal_of(shift_range_px="3 two")
    assert "must be one of auto, cpu, cuda, not 'gpu'" in refusal_of(backend="gpu")
    assert "particles_file (Particles) must be given" == refusal_of(particles_file=" ")


def test_a_whole_number_serves_for_a_float():
    assert from_flat(Config, {**VALUES, "wiener_snr": 2}).search.wiener_snr == 2.0


def test_all_problems_are_told_at_once():
    assert len(refusal_of(n_classes=0, backend="gpu").splitlines()) == 2


def test_numbers_of_a_list_are_bounded_one_by_one():
    assert refusal_of(shift_range_px="3 -1") == (
        "shift_range_px (Shift range) must be at least 0 px, not -1"
    )
    assert parse_numbers(" 3, 2 1.5 ") == (3.0, 2.0, 1.5)
    assert parse_numbers("") == ()


def test_a_number_on_the_command_line_is_refused_in_words():
    with pytest.raises(ConfigError, match="--n-classes: must be a whole number, not 'ten'"):
        read_config(Config, "", ["--n-classes", "ten"])


def test_a_configuration_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the configuration .*nowhere.json"):
        read_config(Config, "", ["--config", str(tmp_path / "nowhere.json")])


def test_help_shows_unit_default_and_bounds():
    text = " ".join(parser_for(Config, "").format_help().split())
    for _, _, name, declared in iter_params(Config):
        assert flag_of(name) in text
        assert declared.help in text
        assert declared.bounds_in_words in text or declared.choices
    assert "[between 1 and 500; default: 10]" in text
    assert "[in px; at least 0.01; default: 1.0]" in text
    assert "[required]" in text


def test_printed_config_can_be_read_again(capsys):
    with pytest.raises(SystemExit) as stopped:
        read_config(Config, "", [*FLAGS, "--print-config"])
    assert stopped.value.code == 0
    assert from_json(capsys.readouterr().out, Config) == from_flat(Config, VALUES)


def test_checks_that_join_parameters_are_heard():
    @dataclass(frozen=True)
    class Strict(Config):
        def problems(self):
            return ["too few"] if self.search.n_classes < 5 else []

    strict = Strict(files=Files("a.star"), search=Search(n_classes=4))
    with pytest.raises(ConfigError, match="too few"):
        validate(strict)
    validate(dataclasses.replace(strict, search=Search(n_classes=5)))


def test_a_value_out_of_bounds_does_not_hide_what_does_not_go_together():
    @dataclass(frozen=True)
    class Strict(Config):
        def problems(self):
            return ["too few" for _ in range(int(self.search.n_classes))][:1]

    strict = Strict(files=Files("a.star"), search=Search(n_classes=501))
    with pytest.raises(ConfigError, match="n_classes .* between 1 and 500, not 501\ntoo few"):
        validate(strict)
    with pytest.raises(ConfigError, match="n_classes .* a whole number, not 'ten'$"):
        validate(dataclasses.replace(strict, search=Search(n_classes="ten")))


def test_checks_made_together_are_told_together():
    def complain(error):
        raise error

    with pytest.raises(FileNotFoundError, match="^no stack$"):
        raise_together(lambda: None, lambda: complain(FileNotFoundError("no stack")))
    with pytest.raises(ConfigError, match="^no stack\nno box$"):
        raise_together(
            lambda: complain(FileNotFoundError("no stack")), lambda: complain(ValueError("no box"))
        )
    with pytest.raises(KeyError):
        raise_together(lambda: complain(KeyError("ours")))


def test_wrong_declarations_are_found_by_the_first_reader():
    with pytest.raises(TypeError, match="choices"):
        param(3, label="a", help="a", choices=("a",))
    with pytest.raises(TypeError, match="is none of"):
        param("z", label="a", help="a", choices=("a",))

    @dataclass(frozen=True)
    class Wrong:
        size: float = param(1, label="a", help="a")

    @dataclass(frozen=True)
    class Twice:
        files: Files = field(default_factory=Files)
        again: Files = field(default_factory=Files)

    with pytest.raises(TypeError, match="annotated float, but its default 1 is int"):
        list(params_of(Wrong))
    Twice.__annotations__ = {"files": Files, "again": Files}
    with pytest.raises(TypeError, match="particles_file is in both files and again"):
        list(iter_params(Twice))
