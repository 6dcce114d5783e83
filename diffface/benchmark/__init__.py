"""How fast derivatives are, beside the same derivatives written by hand."""
