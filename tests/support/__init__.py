"""What the tests stand on: real servers, and whatever else more than one test module needs."""
