"""What checks every argument and result of the package while tests run (jaxtyping's hook in setup.cfg names it)."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as every type checker has it
