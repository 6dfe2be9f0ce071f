"""One module per file format; every write is atomic."""
