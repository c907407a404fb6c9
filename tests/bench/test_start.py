from __future__ import annotations

from pathlib import Path

import pytest

from gac_app.bench.start import cache_bytes
from gac_app.member_config import MemberConfig
from tests.models.tiny import save_llama
from tests.models.tiny_gguf import save_llama_gguf


@pytest.mark.slow
def test_the_cache_is_counted_from_the_shape_in_the_file(tmp_path: Path) -> None:
    path = save_llama_gguf(save_llama(tmp_path / "llama"), tmp_path / "tiny.gguf")
    member = MemberConfig(name="tiny", source=str(path), max_sequences=6)
    # 2 layers x 2 heads of keys and values x 8 wide (32 / 4) x keys and values x 2 bytes x 512 tokens x 6 sequences
    assert cache_bytes(path, member) == 2 * 2 * 8 * 2 * 2 * 512 * 6
