"""`python -m fleetloop`: the same as the console script."""

from fleetloop.cli.main import main

if __name__ == "__main__":
    main()
