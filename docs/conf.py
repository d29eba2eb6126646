"""How Sphinx builds the documentation: `make docs`."""

import re

from sphinx.application import Sphinx

from mocap import __version__

project = "mocap"
copyright = "the authors of mocap, Apache-2.0"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["images"]
highlight_language = "text"
source_suffix = {".md": "markdown"}
root_doc = "index"

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

default_role = "code"  # docstrings say `name`
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"

html_theme = "furo"
html_title = f"mocap {__version__}"
html_static_path = ["static"]
html_css_files = ["narrow.css"]
html_copy_source = False
html_show_sphinx = False

_SECTIONS = ("Args", "Returns", "Raises", "Yields", "Example", "Examples", "Note")
"""What napoleon knows; other headings of a docstring become lists."""


def _as_written(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Outside backticks nothing in a docstring means anything but itself: |betas| is a norm, 4 * x a product."""
    written, lines[:], own = list(lines), [], False
    for line in written:
        parts = line.split("`")
        parts[::2] = [re.sub(r"([|*])", r"\\\1", part) for part in parts[::2]]
        line = "`".join(parts)
        if line and not line.startswith(" "):
            lines += [""] if own else []
            own = line.endswith(":") and line[:-1] not in _SECTIONS
            lines += [line, ""] if own else [line]
        elif own and (entry := re.fullmatch(r"    (\S[^:]*):( .*)", line)):
            lines.append(f"- **{entry[1]}**:{entry[2]}")
        else:
            lines.append(f"  {line.strip()}" if own and line else line)


def setup(app: Sphinx) -> None:
    """Before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", _as_written, priority=100)
