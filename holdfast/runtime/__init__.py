"""The shell: carries out a worker's effects on real disks, threads, signals and time."""
