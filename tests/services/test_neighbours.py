"""An honest visitor's first token beside others: `pytest -s tests/services/test_neighbours.py` shows how long it takes.

`-m long` measures the default models. To measure an older version, copy this file and `neighbourhood.py` into it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gac_app.config import Config
from gac_app.environment import read_config
from gac_app.loading import load_ensemble
from gac_app.models.base import Read
from gac_app.services.visitors import owner_of
from tests.fakes import FakeModel, config_of, ensemble_of
from tests.services.house import ALICE, BOB, House, ended
from tests.services.neighbourhood import LONG_CHARS, Neighbourhood, measured


class PacedModel(FakeModel):
    """Its passes take time by their ids, as on a CPU, where prompts are read in chunks and steps share passes."""

    max_batched_ids = 2
    chunk_size = 128
    is_batch_invariant = is_chunk_invariant = True
    pass_s, id_s = 0.003, 0.001

    def read(self, reads: list[Read]) -> list[torch.Tensor]:
        self.delay_s = self.pass_s + self.id_s * sum(read.sequence.num_uncomputed for read in reads)
        return super().read(reads)


def test_a_read_counts_for_an_address_then_for_a_browser(house: House) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2)]
    service = house.service(models)
    for key, client in ((ALICE, "mill"), (BOB, "mill"), (BOB, "home")):
        ended(service.start(key, "hello", {"max_new_tokens": 3, "mode": "every-step"}, client=client))
    expected = {("mill", owner_of(ALICE)), ("mill", owner_of(BOB)), ("home", owner_of(BOB))}
    assert [model.shares for model in models] == [expected, expected]


@pytest.mark.long  # it compares times
def test_first_tokens_beside_others_are_nearly_as_soon(tmp_path: Path) -> None:
    models = [PacedModel(name, seed, context_length=LONG_CHARS) for seed, name in enumerate(("a", "b"))]
    config = config_of(["a", "b"], {"mode": "every-step"}, server={"max_running": 2})
    ensemble = ensemble_of(models, config)
    ratios = measured(Neighbourhood(tmp_path, ensemble, num_long=256, warm_s=0.2), 2)
    ensemble.close()
    assert ratios["one address, 12 browsers"] <= 2 * ratios["one neighbour"]
    assert ratios["a study"] <= 2
    assert ratios["a prompt of 20,000 characters"] <= 3.5


@pytest.mark.long
@pytest.mark.real
def test_first_tokens_beside_others_with_the_default_models(tmp_path: Path) -> None:
    config: Config = read_config(None, {})
    members = [member.model_copy(update={"max_sequences": 8}) for member in config.members]
    config = config.model_copy(update={"members": tuple(members)})
    ensemble = load_ensemble(config)
    ratios = measured(Neighbourhood(tmp_path, ensemble, num_long=256, warm_s=3.0), 3)
    ensemble.close()
    assert ratios["one address, 12 browsers"] <= 1.25 * ratios["one neighbour"]
    assert ratios["a study"] <= 1.3
