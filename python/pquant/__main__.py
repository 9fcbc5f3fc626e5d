"""`python -m pquant ARGUMENTS` is the program `pquant ARGUMENTS`."""
from ._results import main

main()
