"""`python -m lawful` is the command `lawful`."""

from .cli import main

main()
