"""The compilers for torch: trace a derivation into a graph, and replay it or compile it."""
