"""The README says what is: every setting, every room, every command."""

import re
from dataclasses import fields
from pathlib import Path

from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(table: str) -> list[str]:
    return [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]


def test_the_configuration_table_lists_exactly_the_settings() -> None:
    listed = [name for cell in first_cells(section("Configuration")) for name in re.findall(r"`([A-Z_]+)`", cell)]
    assert sorted(listed) == sorted(field.name.upper() for field in fields(Settings))


def test_the_configuration_table_gives_the_true_defaults_of_numbers() -> None:
    rows = [line for line in section("Configuration").splitlines() if line.startswith("| `")]
    for row in rows:
        names, defaults = re.findall(r"`([A-Z_]+)`", row.split("|")[1]), row.split("|")[2]
        numbers = [int(number) for number in re.findall(r"\b\d+\b(?!\.)", defaults) if "`" not in defaults]
        whole = [f.default for f in fields(Settings) if f.name.upper() in names and f.type is int and f.default]
        assert not whole or [f.default for name in names for f in fields(Settings) if f.name.upper() == name] == numbers


def test_every_room_on_the_map_exists_and_every_room_is_on_it() -> None:
    on_the_map = {
        name for cell in first_cells(section("The map of the house")) for name in re.findall(r"`(.+?)`", cell)
    }
    rooms = {f"shared/{path.name}/" for path in (ROOT / "shared").iterdir() if (path / "__init__.py").exists()}
    assert all((ROOT / name).exists() for name in on_the_map)
    assert rooms <= on_the_map


def test_every_command_of_the_readme_is_a_target_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", README)) <= targets | {"and"}


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
