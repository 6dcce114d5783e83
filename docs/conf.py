"""Settings of Sphinx for the documentation site; ``make docs`` builds it."""

import importlib.metadata
import sys
import zlib
from pathlib import Path

from numpydoc.docscrape import NumpyDocString
from sphinx.application import Sphinx

from diffface.backends.registry import ROWS

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "diffface"
author = "diffface contributors"
project_copyright = author
release = importlib.metadata.version("diffface")

extensions = [
    "code_links",
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
smartquotes = False  # commands are to be copied
exclude_patterns = ["scripts/*", "inventories/*", "examples/*.md5", "sg_execution_times.rst"]
templates_path = ["templates"]

# Markdown
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

# Docstrings
default_role = "code"
autosummary_generate = True
autosummary_context = {"backends": [row.cls for row in ROWS.values()]}  # without their methods
autodoc_typehints = "none"  # the docstrings say types; signatures would be as long as a page
autodoc_default_options = {"members": True, "member-order": "bysource"}
numpydoc_show_class_members = False
NumpyDocString.sections["Laws"] = ""  # what adapters have to obey; see show_laws
maximum_signature_line_length = 60

# Other projects. Their inventories are lists of the names that these pages use, since builds are
# offline: lines as Sphinx defines them, packed here.
BASES = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "jax": "https://docs.jax.dev/en/latest/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
HEAD = """# Sphinx inventory version 2
# Project: {}
# Version:
# The remainder of this file is compressed using zlib.
"""


def packed(name: str) -> str:
    """The inventory of another project as a file that intersphinx reads."""
    lines = (HERE / "inventories" / f"{name}.txt").read_bytes()
    file = HERE / "inventories" / f"{name}.inv"
    file.write_bytes(HEAD.format(name).encode() + zlib.compress(lines))
    return str(file)


intersphinx_mapping = {name: (base, packed(name)) for name, base in BASES.items()}

# Examples
sphinx_gallery_conf = {
    "examples_dirs": "scripts",
    "gallery_dirs": "examples",
    # All of them run but one, which needs JAX to be started with a flag.
    "filename_pattern": r"/(?!sharded)\w+\.py$",
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "reset_modules": ("matplotlib", "picture_style.reset"),
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "min_reported_time": 3600,
    "doc_module": ("diffface",),
    "backreferences_dir": "examples/uses",
    "default_thumb_file": str(HERE / "static" / "no-picture.png"),
}

# Code blocks
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Pages
html_theme = "pydata_sphinx_theme"
html_title = "diffface"
html_favicon = "static/favicon.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def show_laws(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Show the section Laws of a docstring as numpydoc's Notes, the only place it has for them."""
    if "Laws" in lines:
        at = lines.index("Laws")
        lines[at : at + 2] = ["Notes", "-----", "**Laws**", ""]


def setup(app: Sphinx) -> None:
    """Run before numpydoc, which reads the sections."""
    app.connect("autodoc-process-docstring", show_laws, priority=400)
