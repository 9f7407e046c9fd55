"""Load on a whole control plane, side by side: `make bench` or `python -m bench --help`."""
