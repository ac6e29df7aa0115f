"""`python -m comity` is the `comity` command."""

from comity.cli.main import run

if __name__ == "__main__":
    run()
