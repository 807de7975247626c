"""`python -m cmburden` is the command `cmburden`."""

from cmburden.run.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
