"""The root of every request body: strict types, no unknown member, no input in any error."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Body(BaseModel):
    """A frozen value read from JSON. Members are camelCase on the wire; an unknown one is refused."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        alias_generator=to_camel,
        populate_by_name=False,
        allow_inf_nan=False,
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Nothing: what a caller sent is never printed."""
        return ()
