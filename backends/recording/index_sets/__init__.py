"""Arrays without values that know which inputs each of their elements depends on."""
