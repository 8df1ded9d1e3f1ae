"""Its folder is what makes `packets` and `topology` importable for all tests."""
