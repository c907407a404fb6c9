"""What `pip install` gives: the packages listed, and every file that is read at run time."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from gac_app import __version__
from gac_app.folders import CONFIGS_DIR, STATIC_DIR

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
APART = {"ray"}  # extras for few
BUILD = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]


def _listed(lines: list[str]) -> set[Requirement]:
    return {Requirement(line) for line in lines if line and not line.startswith("#")}


def test_both_lists_of_packages_agree() -> None:
    everything = PROJECT["project"]["optional-dependencies"]
    extras = {name: packages for name, packages in everything.items() if name not in APART}
    assert set(Requirement(extras["all"][0]).extras) == extras.keys() - {"all"}
    packages = _listed([*PROJECT["project"]["dependencies"], *(line for lines in extras.values() for line in lines)])
    apart = {package for package in packages if package.name != PROJECT["project"]["name"]}
    assert apart == _listed((ROOT / "requirements.txt").read_text("utf-8").splitlines())


def test_the_version_is_one() -> None:
    assert PROJECT["project"]["version"] == __version__


def test_folders_beside_the_code_are_in_the_wheel() -> None:
    inside = {ROOT / folder: place for folder, place in BUILD["force-include"].items()}
    assert inside == {CONFIGS_DIR: "gac_app/configs", STATIC_DIR: "gac_app/static"}
