"""Launch: `python -m synthagent`."""

from synthagent.cli import main

main()
