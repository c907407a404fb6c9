"""A walk through rows page by page meets each once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from gac_app.storage.database import paging

START = datetime(2026, 1, 1)


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


@pytest.mark.parametrize("minutes", [[0] * 7, [0, 1, 1, 1, 1, 1, 2], [6, 5, 4, 3, 2, 1, 0]])
def test_rows_of_one_time_are_all_met(minutes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE", 2)
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    items = [(START + timedelta(minutes=at), str(number)) for number, at in enumerate(minutes)]
    with Session(engine) as session:
        session.add_all(Item(id=row_id, created_at=created_at) for created_at, row_id in reversed(items))
        session.commit()
    found = [row_id for page in paging.pages(engine, select(Item), Item.created_at, Item.id) for row_id in page]
    assert found == [row_id for _, row_id in sorted(items)]
    engine.dispose()
