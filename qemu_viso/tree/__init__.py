"""A recipe carried out: the tree of what will be in the image, with a name in each namespace."""
