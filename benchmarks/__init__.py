"""How fast billvend is, compared with the limits of its database: `nox -s bench`."""
