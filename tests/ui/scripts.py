"""Answers in many scripts, cut into tokens that heed no character, as models that write bytes cut them."""

from __future__ import annotations

import random
from typing import Any

from gac_app.decoding.loop.text import TextStream
from gac_app.decoding.trace.events import Event, FinishReason, StepTrace
from tests.ui.planted import PlantedEnsemble, PlantedSession
from tests.ui.steps import step

SCRIPTS = {
    "Latin": "Où est passée la façade naïve? Größe, Åse, Łódź, ﬁn; e\u0301te\u0301 stays whole.",
    "Cyrillic": "Столица Австралии — Канберра, её выбрали в 1908 году. Й и\u0306 ё.",
    "Greek": "Ἡ πρωτεύουσα τῆς Αὐστραλίας εἶναι ἡ Καμπέρα.",
    "Arabic": "عاصمة أستراليا هي كانبيرا، واختيرت عام 1908. السَّلامُ عَلَيْكُمْ.",
    "Hebrew": "בירת אוסטרליה היא קנברה, והיא נבחרה ב-1908. שָׁלוֹם עֲלֵיכֶם.",
    "Devanagari": "ऑस्ट्रेलिया की राजधानी कैनबरा है, जिसे क्षेत्र में चुना गया।",
    "Thai": "เมืองหลวงของออสเตรเลียคือแคนเบอร์รา ซึ่งได้รับเลือกที่นี่",
    "Chinese": "澳大利亚的首都是堪培拉，于1908年选定。𠮷野家。",
    "Japanese": "オーストラリアの首都はキャンベラです。か\u3099ん、東京。",
    "Korean": "호주의 수도는 캔버라이며 1908년에 정해졌다. \u1112\u1161\u11ab글.",
    "Emoji": "Family 👩‍👩‍👧‍👦, flags 🇦🇺🇯🇵, skin 👍🏽, heart ❤️‍🔥, key 1️⃣.",
}
ALL_SCRIPTS = "\n".join(SCRIPTS.values()) + "\n\nEnd."


def cut_anywhere(text: str, seed: int = 1, max_bytes: int = 5) -> list[bytes]:
    """Tokens of 1 to `max_bytes` bytes, then END."""
    data, rng, tokens = text.encode(), random.Random(seed), []
    while data:
        size = rng.randint(1, max_bytes)
        tokens.append(data[:size])
        data = data[size:]
    return [*tokens, b""]


class BytesEnsemble(PlantedEnsemble):
    """Every stream says the tokens given; every third one of the ensemble's is gated, and carried in turn."""

    def __init__(self, tokens: list[bytes], stop: tuple[str, ...] = ()) -> None:
        super().__init__(pieces=())
        self.tokens, self.stop = tokens, stop

    def session(self, messages: Any, settings: Any, *, alone: str | None = None, **options: Any) -> PlantedSession:
        return BytesSession(self, [], settings, alone, -1)


class BytesSession(PlantedSession):
    _ensemble: BytesEnsemble

    def events(self) -> Any:
        stream, count = TextStream(self._ensemble.stop), 0
        for position, token in enumerate(self._ensemble.tokens):
            count += 1
            stream.take(token, is_last=not token)
            yield from stream.show(self._bytes_step(position, token))
            if stream.is_stopped:
                break
        released: list[Event] = [*stream.release()]
        yield from released
        yield self._end(FinishReason.STOP, stream.text, count)

    def _bytes_step(self, position: int, token: bytes) -> StepTrace:
        if self._alone or position % 3:
            return step(position, token, members=step(0, b"").members[:1])
        return step(position, token)
