"""What bodies of requests consist of: values, the kinds of their fields, and fields that have parts of their own."""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gac_app.settings import MAX_BIAS, Settings, Shown


def like(name: str) -> Any:
    """A field with the bounds of a setting; None = the system's own."""
    setting = Settings.model_fields[name]
    info: Any = Field(None, description=setting.description)
    info.metadata = [item for item in setting.metadata if not isinstance(item, Shown)]
    return info


def described_as(expected: str) -> WrapValidator:
    """One message for all kinds of a union, none of which fits."""

    def check(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(value)
        except ValidationError:
            raise ValueError(f"expected {expected}") from None

    return WrapValidator(check)


def _of_one_type(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    found = validate(value)
    if type(value) is not type(found):  # to Python, 0 is False
        raise ValueError(f"expected {json.dumps(found)}")
    return found


def few(most: int) -> BeforeValidator:
    """At most so many keys. Of more, one too many is looked at: pydantic would list the faults of all."""
    return BeforeValidator(lambda value: dict(islice(value.items(), most + 1)) if isinstance(value, dict) else value)


No = Annotated[Literal[False], WrapValidator(_of_one_type)]
Yes = Annotated[Literal[True], WrapValidator(_of_one_type)]
One = Annotated[Literal[1], WrapValidator(_of_one_type)]


class Asked(BaseModel):
    """A value of the API: strict, without unknown fields. A field that is null counts as missing."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        told = handler(core)
        schema = handler.resolve_ref_schema(told)
        for name, field in schema.get("properties", {}).items():
            is_nullable = {"type": "null"} in field.get("anyOf", []) or field.get("default", "") is None
            if name not in schema.get("required", []) and not is_nullable:
                schema["properties"][name] = {"anyOf": [field, {"type": "null"}]}
        return told

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, data: Any) -> Any:
        """Of unknown fields the first one stays, which is enough to refuse the value: pydantic would list them all."""
        if not isinstance(data, dict):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        unknown = given.keys() - {field.alias or name for name, field in cls.model_fields.items()}
        first = next((key for key in given if key in unknown), None)
        return {key: value for key, value in given.items() if key not in unknown or key == first}


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


class Schema(Asked):
    """A JSON schema. Its description has no effect, and it always holds, strict or not."""

    description: str | None = Field(None, max_length=10_000)
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class NamedSchema(Schema):
    """A JSON schema. Its name and description have no effect, and it always holds, strict or not."""

    name: SchemaName


class Format(Asked):
    """What an answer consists of: text, a JSON object, or JSON that follows a schema."""

    type: FormatName
    schema_field: ClassVar[str]  # which has the schema

    @model_validator(mode="after")
    def _check_schema(self) -> Format:
        if (self.type == "json_schema") != (getattr(self, self.schema_field) is not None):
            name = self.schema_field.rstrip("_")
            raise ValueError(f"{name} has to be there with type json_schema, and only there")
        return self

    @property
    def schema_of_text(self) -> dict[str, Any] | None:
        """The setting `json_schema`; None = any text. A schema that is left out holds for every JSON value."""
        if self.type != "json_schema":
            return {"type": "object"} if self.type == "json_object" else None
        given = getattr(self, self.schema_field)
        return (given.schema_ if isinstance(given, NamedSchema) else given) or {}


class ResponseFormat(Format):
    """What a chat's answer consists of: text, a JSON object, or JSON that follows a schema."""

    schema_field = "json_schema"
    json_schema: NamedSchema | None = None


class TextFormat(Schema, Format):
    """The same for a response."""

    schema_field = "schema_"
    name: SchemaName | None = None
