"""Typed options of stages and losses: frozen dataclasses checked when constructed, from YAML or from Python."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as _checked_dataclass
from typing_extensions import dataclass_transform

Options = TypeVar("Options")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def options(cls: type[Options]) -> type[Options]:
    """Makes `cls` a frozen dataclass whose fields are checked when it is constructed.

    The string under a field is its help, shown by `emc --help-stage`. Ranges are written with pydantic's constrained
    types (`Annotated[float, Gt(0)]` and its aliases such as `PositiveFloat`). An unknown field is refused.
    """
    # Python 3.10 cannot evaluate a bare "ClassVar", and what has no annotation is no field either
    cls.__annotations__ = {n: a for n, a in vars(cls).get("__annotations__", {}).items() if a != "ClassVar"}
    config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )
    return _checked_dataclass(frozen=True, kw_only=True, config=config)(cls)  # type: ignore[return-value]
