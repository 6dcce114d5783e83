"""Link names in code font, such as ``dif.gradient`` or ``jax.jit``, to their documentation."""

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.typing import ExtensionMetadata

import diffface as dif

# How names are abbreviated in text.
ABBREVIATIONS = {"dif": "diffface", "np": "numpy", "jnp": "jax.numpy"}


class CodeLinks(SphinxTransform):
    """Makes each such name a reference; one that nobody documents stays as it is."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        in_docstrings = self.env.docname.startswith("reference/api/")
        for node in list(self.document.findall(nodes.literal)):
            target = full_name(node.astext())
            if target.islower() and "." not in node.astext() and in_docstrings:
                continue  # an argument or a method, rather than a function of this name
            if target and not isinstance(node.parent, nodes.reference | pending_xref):
                reference = pending_xref(
                    "", refdomain="py", reftype="obj", reftarget=target, refdoc=self.env.docname,
                    refwarn=False, refexplicit=True,
                )  # fmt: skip
                node.replace_self(reference)
                reference += node


def full_name(text: str) -> str:
    """The dotted name that ``text`` is, or calls; empty if there is none."""
    if text.removesuffix("()") in dif.__all__:
        return f"diffface.{text.removesuffix('()')}"
    found = re.match(r"([A-Za-z]\w*)\.(\w+(?:\.\w+)*)(?=\(|$)", text)
    return f"{ABBREVIATIONS.get(found[1], found[1])}.{found[2]}" if found else ""


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the transform to every page."""
    app.add_transform(CodeLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
