"""Planning: which rows a manifest names, to which units they belong, and which of them are tried again."""
