from __future__ import annotations

from pathlib import Path

import pytest

from gac_app.bench.start import child_server, wait_for
from gac_app.bench.workbench import Workbench
from gac_app.errors import GacError
from tests.fakes import config_of
from tests.server.site import free_port


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "planted_child.py").write_text(
        "import json, sys\n"
        "if sys.argv[2] == 'true': sys.exit('first line\\nthe reason')\n"
        "print(json.dumps(sys.argv[1:]))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "planted_child"


def test_a_child_hands_back_its_json_or_says_why_not(module: str) -> None:
    whole, quick = (Workbench(Path("a.yaml"), config_of(["a"]), is_quick=is_quick) for is_quick in (False, True))
    assert whole.in_child(module) == ["a.yaml", "false"]
    with pytest.raises(GacError, match="planted_child failed: the reason"):
        quick.in_child(module)


@pytest.mark.process
def test_a_server_is_waited_for_and_ended() -> None:
    port = free_port()
    with child_server(["-m", "http.server", str(port), "--bind", "127.0.0.1"]) as server:
        wait_for(server, f"http://127.0.0.1:{port}/")
        assert server.poll() is None
    assert server.poll() is not None


def test_a_server_that_ends_before_it_answers_is_no_start() -> None:
    with (
        child_server(["-c", "raise SystemExit(3)"]) as server,
        pytest.raises(GacError, match="ended with status 3"),
    ):
        wait_for(server, f"http://127.0.0.1:{free_port()}/")
