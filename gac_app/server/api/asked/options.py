"""Fields of requests that have parts of their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gac_app.server.api.asked.value import Asked, No
from gac_app.settings import MAX_BIAS

FormatName = Literal["text", "json_object", "json_schema"]
SchemaName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Bias = dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-MAX_BIAS, le=MAX_BIAS)]]


class StreamOptions(Asked):
    """How a stream is sent."""

    include_usage: bool | None = Field(None, description="A last chunk without choices has the usage.")
    include_obfuscation: No | None = None


class GacOptions(Asked):
    """The extension: how the ensemble decoded."""

    steps: bool = Field(True, description="Each step: who took part, the winner, each member's probability.")
    settings: dict[str, Any] = Field({}, max_length=40, description="Settings that differ from the model's.")


class NamedSchema(Asked):
    """A JSON schema. Its name and description have no effect, and it always holds, strict or not."""

    name: SchemaName
    description: str | None = Field(None, max_length=10_000)
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Asked):
    """What a chat's answer consists of: text, a JSON object, or JSON that follows a schema."""

    type: FormatName
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _check_schema(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema has to be there with type json_schema, and only there")
        return self

    @property
    def schema_of_text(self) -> dict[str, Any] | None:
        return schema_of(self.type, self.json_schema.schema_ if self.json_schema else None)


class TextFormat(Asked):
    """The same for a response."""

    type: FormatName
    name: SchemaName | None = None
    description: str | None = Field(None, max_length=10_000)
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def _check_schema(self) -> TextFormat:
        if (self.type == "json_schema") != (self.schema_ is not None):
            raise ValueError("schema has to be there with type json_schema, and only there")
        return self

    @property
    def schema_of_text(self) -> dict[str, Any] | None:
        return schema_of(self.type, self.schema_)


def schema_of(kind: FormatName, schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """The setting `json_schema`; None = any text. A schema that is left out holds for every JSON value."""
    if kind == "json_schema":
        return schema or {}
    return {"type": "object"} if kind == "json_object" else None
