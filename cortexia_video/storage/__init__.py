"""Local paths and object stores behind one set of methods; atomic files; one member of an archive."""
