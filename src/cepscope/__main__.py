"""``python -m cepscope``."""

from cepscope.cli import main

main()
