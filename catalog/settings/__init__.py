"""The networks that show the laws, one file per kind of block; `groups` lists them all, `setting` is one of them."""
