"""critest 1.34.0 against the shim and, beside it, against containerd's own CRI."""
