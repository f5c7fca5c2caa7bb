"""The layouts of other people's datasets, one file each; `registry` lists them."""
