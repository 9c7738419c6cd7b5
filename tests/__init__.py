"""The tests of holdfast, see README.md here. A package, so that no installed one of this name hides it."""
