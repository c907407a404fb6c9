"""Our own API as the inference server of a member: few tokens, told by texts, and what they prove."""

from __future__ import annotations

from gac_app.decoding.trace.events import FinishReason
from gac_app.executors.members import new_member
from gac_app.member_config import ServerConfig
from gac_app.models.random_model import RandomModel
from gac_app.models.remote.model import RemoteModel
from gac_app.models.remote.servers import connect
from tests.api.site import Sites
from tests.decoding.answers import decoded
from tests.fakes import FakeModel, config_of, ensemble_of
from tests.server.site import served

NUM_TOLD = 8  # as many as our API tells


class FarModel(RemoteModel, RandomModel):
    """A random model that a server computes."""


def sure(name: str, seed: int) -> FakeModel:
    model = FakeModel(name, seed)
    model._sharpness = 12.0
    return model


def test_what_is_proven_is_what_would_be_chosen_here(site: Sites) -> None:
    near = ensemble_of([sure("a", 1), sure("b", 2)])
    expected, _ = decoded(near, max_new_tokens=40)
    with served(site([sure("a", 1), sure("c", 3)]).host) as url:
        config = ServerConfig(url=url, api="openai", model="a", top_logprobs=NUM_TOLD)
        far = FarModel("a", 1)
        far.use(connect(config), config.top_logprobs)
        ensemble = ensemble_of([far, sure("b", 2)], config_of(["a", "b"]), new_member)
        steps, finished = decoded(ensemble, max_new_tokens=40)
        for member in ensemble.members.values():
            member.close()
    assert finished.reason is FinishReason.LENGTH
    guessed = [step.position for step in steps if any(member.missing for member in step.members)]
    num_same = guessed[0] if guessed else len(steps)
    assert num_same > 0
    assert [step.token for step in steps[:num_same]] == [step.token for step in expected[:num_same]]
    told = {member.num_told for step in steps for member in step.members if member.member == "a"}
    assert max(told) <= NUM_TOLD
