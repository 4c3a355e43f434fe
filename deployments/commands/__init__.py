"""The commands of braid, one module each."""
