"""``python -m proxy``."""

from proxy.cli.main import main

if __name__ == "__main__":
    main(prog_name="python -m proxy")
