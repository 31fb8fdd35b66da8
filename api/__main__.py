"""`python -m forebay`: the command line, as `forebay` is."""

from forebay.cli import main

main()
