"""The default members write JSON that the official client parses."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from gac_app.services.runs.runs import RunService
from gac_app.storage import Store
from tests.api.site import Site
from tests.databases import database_in
from tests.real.conftest import loaded
from tests.server.site import served

openai = pytest.importorskip("openai")
pytest.importorskip("llguidance")


class Dog(BaseModel):
    name: str
    age: int
    size: Literal["small", "medium", "large"]


@pytest.mark.slow
def test_answers_of_the_default_members_parse(tmp_path: Path) -> None:
    ensemble = loaded("default.yaml")  # the host closes it
    service = RunService(ensemble.config, Store(database_in(tmp_path / "gac.db")), {})
    service.members.use(ensemble)
    chat: list[Any] = [{"role": "user", "content": "Describe a large dog called Rex, 7 years old, as JSON."}]
    with (
        Site.over(service) as site,
        served(site.host) as url,
        closing(openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)) as client,
    ):
        for model in ("gac/gate", "gac/every-step", "SmolLM2-135M-Instruct"):
            answer = client.chat.completions.parse(model=model, messages=chat, response_format=Dog, max_tokens=80)
            dog = answer.choices[0].message.parsed
            assert "Rex" in dog.name
            assert dog.age >= 0
