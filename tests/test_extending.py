"""What `docs/extending.md` shows: a file of one's own, named in a configuration, is at once everywhere. The core is not
touched, so these run on the examples as they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pydantic import Field
from typer.testing import CliRunner

from gac_app.cli import app
from gac_app.config import Config
from gac_app.decoding.rules import REGISTRIES, LinearRule, combine_rules, plugin_code
from gac_app.decoding.trace.events import TokenEvent
from gac_app.environment import read_config
from gac_app.errors import ConfigError, MemberError, ModelLoadError, RequestError
from gac_app.evaluation.running.result_cache import result_cache_path
from gac_app.evaluation.running.systems import parse_system
from gac_app.evaluation.tasks.task import load_task, read_task
from gac_app.loading import load_ensemble
from gac_app.models.backends import LoadRequest, backend, loader_of
from gac_app.models.base import Model
from gac_app.models.random_model import RandomModel
from gac_app.models.sequence import ForwardRequest
from gac_app.plugins import load_plugins
from gac_app.services.members import Members
from gac_app.settings import Settings
from gac_app.ui.settings.fields import spec_of
from gac_app.ui.settings.values import changes_from, faults_in
from gac_app.ui.settings.wording import settings_in_words
from gac_app.ui.words import said
from gac_app.vocab.tokens import MemberVocabulary
from tests.command_line import config_file as written
from tests.command_line import members_file, run_command
from tests.fakes import config_of

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
RULE_FILES = ("first_only.py", "trimmed.py", "second_thought.py", "front_runner.py")


@pytest.fixture(scope="module", autouse=True)
def _forget_rules() -> Iterator[None]:
    """Leaves the registries as they were: other tests look at every rule there is."""
    before = {registry.kind: set(registry) for registry in REGISTRIES}
    yield
    for registry in REGISTRIES:
        for name in set(registry) - before[registry.kind]:
            del registry[name]


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three random members, and the examples as plug-ins."""
    plugins = "\n".join(f"  - {EXAMPLES / name}" for name in RULE_FILES)
    more = f"settings: {{mode: every-step, max_new_tokens: 12}}\nplugins:\n{plugins}\n"
    return members_file(tmp_path_factory.mktemp("extending"), more, names="abc")


@pytest.fixture(scope="module")
def config(config_file: Path) -> Config:
    return read_config(config_file, {})


def generated(config_file: Path, *options: str) -> dict[str, Any]:
    command = ["generate", "Hello", "--raw", "--json", "--config", str(config_file), *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    finished: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return finished


@pytest.mark.parametrize(("name", "most"), [*((name, 30) for name in RULE_FILES), ("echo_backend.py", 40)])
def test_a_plugin_takes_few_lines(name: str, most: int) -> None:
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) < most


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_with_first_only_the_text_is_that_of_the_first_member(config_file: Path, alignment: str) -> None:
    ours = generated(config_file, "--combine", "first-only", "--alignment", alignment)
    assert ours["text"] == generated(config_file, "--mode", "alone", "--member", "a")["text"]
    assert ours["num_ensembled"] == ours["num_tokens"]
    assert ours["text"] != generated(config_file, "--alignment", alignment)["text"]


def test_rules_of_ones_own_are_on_the_command_line(config_file: Path) -> None:
    gated = ("--mode", "gate", "--gate-rule", "second-thought", "--threshold", "0.5")
    ranks = [generated(config_file, *gated, "--gate-param", f"rank={rank}")["num_ensembled"] for rank in (2, 16)]
    assert ranks[0] > ranks[1], "the sixteenth token is farther behind than the second"
    trimmed = ("--combine", "trimmed", "--combine-param")
    digests = [generated(config_file, *trimmed, f"least={least}")["digest"] for least in (0.02, 0)]
    assert digests[0] != digests[1]
    front = ("--weights", "front-runner", "--weight-param")
    runs = [generated(config_file, *how) for how in ((), (*front, "decay=0.9"), (*front, "decay=0.1"))]
    assert len({run["digest"] for run in runs}) == 3


def test_rules_of_ones_own_are_listed(config_file: Path) -> None:
    result = CliRunner().invoke(app, ["rules", "--config", str(config_file), "--json"])
    assert result.exit_code == 0, result.output
    listed = json.loads(result.stdout)
    names = {field: [rule["name"] for rule in rules] for field, rules in listed.items()}
    assert ("trimmed" in names["combine"], "second-thought" in names["gate_rule"]) == (True, True)
    [trimmed] = [rule for rule in listed["combine"] if rule["name"] == "trimmed"]
    assert trimmed["parameters"]["least"]["default"] == 0.001
    table = CliRunner().invoke(app, ["rules", "--config", str(config_file)], env={"COLUMNS": "200"}).output
    assert "least = 0.001 (minimum 0, maximum 1)" in table


def test_answers_of_an_older_version_of_a_plugin_are_not_kept(tmp_path: Path) -> None:
    rule = "@combine_rules.register('editable', 'Editable', 'Changes.', replace=True)\nclass Editable(LinearRule): ..."
    config, task = config_of(["a", "b"]), load_task("triviaqa")
    names = []
    for version in ("first.py", "second.py"):
        (tmp_path / version).write_text(f"{RULES}{rule}  # {version}")
        load_plugins([version], tmp_path)
        (tmp_path / version).write_text("edited while the members load")
        systems = [parse_system(name, config) for name in ("every-step+combine=editable", "every-step")]
        names.append([result_cache_path(tmp_path, config, [], task, system, []) for system in systems])
    (mine, mean), (later, same) = names
    assert (mine != later, mean) == (True, same)


def test_rules_of_ones_own_are_on_the_page(config: Config) -> None:
    spec = {item["name"]: item for item in spec_of(config)}
    assert {"first-only", "trimmed"} < dict(spec["combine"]["choices"]).keys()
    assert "second-thought" in dict(spec["gate_rule"]["choices"])
    rank, least = spec["gate_rule.second-thought.rank"], spec["combine.trimmed.least"]
    assert (rank["kind"], rank["max"], least["kind"], least["label"]) == ("whole", 16, "share", "Least")
    changes = changes_from(config, {"combine": "trimmed", "combine.trimmed.least": 0.02})
    assert changes == {"combine": "trimmed", "combine_params": {"least": 0.02}}
    assert "trimmed mean, least 0.02" in settings_in_words(config.settings_from(changes))


def test_parameters_of_any_kind_are_on_the_page(config: Config) -> None:
    @combine_rules.register("unbound", "Unbound", "Has parameters of many kinds.")
    class Unbound(LinearRule):
        bias: float = 0.0
        size: int = Field(3, le=5)
        heat: float = Field(1.0, gt=0.001)
        part: float = Field(0.3, ge=0.1, le=0.9)
        kind: Literal[1, 2] = 1

    wanted = {"bias": "", "size": " of at most 5", "heat": " above 0.001", "part": " from 0.1 to 0.9"}
    cleared = {f"combine.unbound.{name}": None for name in wanted}
    faults = faults_in(config, {"combine": "unbound", **cleared})
    assert [fault.partition(" number")[2] for fault in faults.values()] == [f"{end}." for end in wanted.values()]
    assert all(said(fault, "de").startswith("Bitte eine ") for fault in faults.values())
    for sent, params in (("1", {}), ("2", {"kind": 2})):  # as a radio button sends it
        changes = changes_from(config, {"combine": "unbound", "combine.unbound.kind": sent})
        assert changes.get("combine_params", {}) == params


def test_a_back_end_of_ones_own_computes(tmp_path: Path) -> None:
    members = "members: [{name: echo, source: 'random:1', backend: echo}]\nsettings: {max_new_tokens: 6}\n"
    path = written(tmp_path, f"{members}plugins: [{EXAMPLES / 'echo_backend.py'}]\n")
    result = CliRunner().invoke(app, ["generate", "tick tack tick", "--raw", "--config", str(path)])
    assert (result.exit_code, result.stdout) == (0, " tick "), result.output


@pytest.mark.parametrize(("name", "kind"), [("weights.bin", "other"), ("weights.gguf", "gguf"), (".", "directory")])
def test_a_back_end_of_ones_own_gets_any_files(name: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"of its own form")
    (tmp_path / "weights.gguf").write_bytes(b"GGUF")
    found = []

    @backend("reads", replace=True)
    def load(request: LoadRequest) -> Model:
        found.append(request.fetch())
        return RandomModel("mine", 1)

    members = [{"name": "mine", "source": str(tmp_path / name), "backend": "reads"}]
    load_ensemble(Config.model_validate({"members": members})).close()
    assert [(files.path, files.kind) for files in found] == [(tmp_path / name, kind)]


@pytest.mark.parametrize(
    ("load", "told"),
    [
        (lambda _: 1 / 0, "cannot be loaded (ZeroDivisionError: division by zero)"),
        (lambda _: None, "its back end gave NoneType; expected a Model"),
    ],
)
def test_a_member_of_a_broken_back_end_is_named(load: Any, told: str) -> None:
    backend("broken", replace=True)(load)
    broken = {"name": "b", "source": "random:2", "backend": "broken"}
    config = Config.model_validate({"members": [{"name": "a", "source": "random:1"}, broken]})
    members = Members(config)
    with pytest.raises(ModelLoadError, match=re.escape(f"b: {told}")):
        load_ensemble(config, members)
    assert [(state.phase, state.detail) for state in members.states()] == [("ready", "cpu"), ("failed", told)]


def test_a_back_end_takes_three_methods() -> None:
    assert Model.__abstractmethods__ == {"forward", "truncate", "copy"}


@pytest.mark.parametrize("shape", [(2, 3), (1, 4)])
def test_a_back_end_with_other_logits_is_told(shape: tuple[int, int]) -> None:
    class Wrong(RandomModel):
        def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
            return [torch.zeros(shape)]

    vocabulary = MemberVocabulary((b"a", b"b", None), frozenset({2}), frozenset(), lambda _: [0])
    model = Wrong("wrong", vocabulary=vocabulary)
    sequence = model.new_sequence()
    with pytest.raises(MemberError, match=re.escape(f"gave logits [({shape}, torch.float32)]; expected [((1, 3),")):
        model.read([ForwardRequest(sequence, (0, 1))])
    assert sequence.ids == ()


def test_a_task_of_ones_own_is_measured(config_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "capitals.jsonl"
    capitals = {"Italy": "Rome", "Spain": "Madrid"}
    questions = [{"id": name, "question": name, "answers": [capital]} for name, capital in capitals.items()]
    data.write_text("\n".join(map(json.dumps, questions)))
    options = ["--task", str(EXAMPLES / "capitals.yaml"), "--data", str(data), "--config", str(config_file), "--json"]
    systems = ["--systems", "alone:a,every-step+combine=first-only"]
    result = CliRunner().invoke(app, ["eval", *options, *systems], env={"GAC_CACHE": str(tmp_path / "cache")})
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["task"] == "capitals"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ask: 3", "about: Field required"),
        ("about: x\nkind: sorting", "kind: "),
        ("- 1", "not a task"),
        ("ask: x\nask: y", "duplicate key 'ask' (line 2)"),
        ("{", "not a task"),
        ("", "not a task"),
        ("extends: nope", "extends: unknown task 'nope'; expected arc_challenge"),
        ("extends: gsm8k\nask: 'What is {city}?'", "ask: unknown placeholder {city}; expected {question}, {options}"),
        ("extends: gsm8k\nask: 'A set {'", "ask: "),
        ("extends: gsm8k\nextract: '('", "extract: invalid regular expression"),
        ("extends: gsm8k\nextract: 'x'", "extract: has no group"),
    ],
)
def test_a_file_that_is_no_task_is_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(RequestError, match=rf"task: .*mine\.yaml: .*{re.escape(told)}"):
        read_task(tmp_path / "mine.yaml")


def test_the_guide_names_every_example() -> None:
    guide = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.*") if f"examples/{path.name}" not in guide] == []


# --- what cannot be loaded

RULES = "from gac_app.decoding.rules import CombineRule, GateRule, LinearRule, combine_rules, gate_rules\n"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = 1\nraise ValueError('planned')", "(ValueError: planned; {file}:2)"),
        ("\n\ndef broken(:", "; {file}:3)"),
        ("\n\ndef broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise ValueError('planned\\nin two lines')", "ValueError: planned in two lines"),
        (
            f"{RULES}combine_rules.register('gate', 'Gate', 'Not of this kind.')(GateRule)",
            "combine rule 'gate' must be a subclass of CombineRule",
        ),
        (
            f"{RULES}gate_rules.register('call', 'Call', 'Not a class.')(lambda gate: 1.0)",
            "gate rule 'call' must be a subclass of GateRule",
        ),
        (f"{RULES}combine_rules.register('mean', 'Mean', '')(LinearRule)", "there is a combine rule 'mean' already"),
        (
            f"{RULES}@combine_rules.register('needy', 'Needy', 'Cannot be chosen as it is.')\n"
            "class Needy(CombineRule):\n    size: int\n",
            "'size' needs a default",
        ),
        (
            f"{RULES}@combine_rules.register('needy', 'Needy', 'The page cannot show it.')\n"
            "class Needy(CombineRule):\n    size: float = float('inf')\n",
            "'size' needs a default value that JSON",
        ),
        (
            f"from pydantic import Field\n{RULES}@combine_rules.register('needy', 'Needy', 'Makes its default.')\n"
            "class Needy(CombineRule):\n    size: int = Field(default_factory=int)\n",
            "'size' needs a default value",
        ),
        (f"{RULES}combine_rules.register('needy', 'Needy', '')(LinearRule)", "'needy' needs a sentence"),
        (f"{RULES}combine_rules.register('No name', 'x', 'y')(LinearRule)", "expected small letters"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named(source: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ConfigError, match=re.escape(told.format(file=tmp_path / "mine.py"))) as caught:
        load_plugins(["mine.py"], tmp_path)
    assert str(caught.value).startswith("plugins: mine.py")
    assert "needy" not in combine_rules


def test_a_plugin_that_failed_is_loaded_once_it_is_mended(tmp_path: Path) -> None:
    plugin = tmp_path / "mended.py"
    whole = "@combine_rules.register('mended', 'Mended', 'Failed at first.')\nclass Mended(LinearRule): ...\n"
    whole = f"{RULES}from gac_app.models.backends import backend\nbackend('mended')(lambda _: None)\n{whole}"
    for slip, told in (("import no_such_module", "No module named"), (whole, "'mended' already")):
        plugin.write_text(f"{whole}{slip}\n")
        with pytest.raises(ConfigError, match=told):
            load_plugins(["mended.py"], tmp_path)
    plugin.write_text(whole)
    load_plugins(["mended.py"], tmp_path)
    assert combine_rules["mended"].__module__ == loader_of("mended").__module__


BROKEN_RULE = """
from gac_app.decoding.rules import CombineRule, combine_rules

@combine_rules.register("broken", "Broken", "Fails.", replace=True)
class Broken(CombineRule):
    how: str = "exit"

    def __call__(self, probs_MU, weights_M):
        if self.how == "exit":
            raise SystemExit(3)
        return probs_MU.sum(99)

    def model_post_init(self, context):
        if self.how == "never":
            raise SystemExit(4)
"""


@pytest.mark.parametrize(("how", "line", "told"), [("exit", 10, "SystemExit: 3"), ("sum", 11, "IndexError: Dim")])
def test_a_rule_s_error_is_told_with_its_line(how: str, line: int, told: str, tmp_path: Path) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text(BROKEN_RULE)
    settings = f"settings: {{combine: broken, combine_params: {{how: {how}}}, mode: every-step}}\n"
    config = members_file(tmp_path, f"plugins: [broken.py]\n{settings}")
    done = run_command("generate", "Hello", "--config", str(config))
    assert done.returncode == 1
    assert f"WARNING gac_app.decoding.loop.session: rule broken: {told}" in done.stderr
    assert f"({plugin}:{line})" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: rule broken: {told}")


def test_a_rule_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN_RULE)
    load_plugins(["broken.py"], tmp_path)
    with pytest.raises(RequestError, match="combine: 'broken' cannot be made: SystemExit: 4"):
        combine_rules.make("broken", {"how": "never"})


def test_a_rule_typed_anew_replaces_the_last_one() -> None:
    typed = (
        f"{RULES}@combine_rules.register('typed', 'Typed', 'In a notebook.', replace=True)\n"
        "class Typed(CombineRule):\n    def __call__(self, probs_MU, weights_M):\n        return probs_MU[{place}]\n"
        "@gate_rules.register('typed', 'Typed', 'In a notebook.', replace=True)\n"
        "class TypedGate(GateRule):\n    def __call__(self, gate):\n        return {place}\n"
    )
    with closing(load_ensemble(config_of(["a", "b"]))) as ensemble:
        scores = []
        for place in (0, 1):
            exec(typed.format(place=place), {"__name__": "notebook"})  # noqa: S102
            for how in ({"combine": "typed", "mode": "every-step"}, {"gate_rule": "typed", "mode": "gate"}):
                scores += ensemble.score("Hello", [" token"], ensemble.config.settings_from(how))
    first, mean, second, gate = (score.log_prob for score in scores)
    assert (first != second, mean != gate) == (True, True)
    assert plugin_code(Settings(combine="typed")) != plugin_code(Settings(combine="typed")), "it has no file"
    with pytest.raises(ConfigError, match="there is a combine rule 'mean' already"):
        combine_rules.register("mean", "Mean", "Another one.", replace=True)(LinearRule)


def test_plugins_of_a_configuration_made_in_code_are_loaded(tmp_path: Path) -> None:
    rule = (EXAMPLES / "first_only.py").read_text(encoding="utf-8").replace("first-only", "in-code")
    (tmp_path / "in_code.py").write_text(rule)
    how = {"combine": "in-code", "mode": "every-step", "max_new_tokens": 3}
    config = config_of(["a", "b"], how, plugins=[str(tmp_path / "in_code.py")])
    with closing(load_ensemble(config)) as ensemble:
        steps = [event.step for event in ensemble.generate("Hello") if isinstance(event, TokenEvent)]
    assert [member.weight for member in steps[0].members] == [1, 0]


def test_a_back_end_is_registered_again() -> None:
    for number in (1, 2):
        load = backend("again", replace=True)(lambda request, number=number: number)  # type: ignore[misc]
        assert loader_of("again") is load
    with pytest.raises(ConfigError, match="there is a back end 'again' already"):
        backend("again")(load)
    with pytest.raises(ConfigError, match="there is a back end 'auto' already"):
        backend("auto", replace=True)(load)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    for plugin in ("gone.py", "no_such_module_anywhere"):
        with pytest.raises(ConfigError, match=f"plugins: {plugin}"):
            load_plugins([plugin], tmp_path)


def test_what_no_plugin_has_registered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"members\.yaml: settings\.combine: unknown combine rule 'best'"):
        read_config(members_file(tmp_path, "settings: {combine: best}\n"), {})
    with pytest.raises(ConfigError, match=r"members\.0\.backend: unknown back end 'abacus'; expected auto, llama_cpp"):
        read_config(written(tmp_path, "members: [{name: a, source: 'random:1', backend: abacus}]"), {})
