"""The floor: for each right, a majority that tries to take it, and the code it fails with."""
