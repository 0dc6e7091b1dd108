"""``python -m volumekit``: the command line, where its program is not on the path."""

from volumekit.cli.main import main

if __name__ == "__main__":
    main()
