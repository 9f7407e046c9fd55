"""Decisions of the real kube-scheduler beside ours; see README.md."""
