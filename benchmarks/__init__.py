"""How fast billvend is, beside the limits of the database that it runs on: `nox -s bench`."""
