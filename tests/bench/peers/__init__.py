"""Each module is a program of its own, run in an environment of its own: nothing here imports the pipeline."""
