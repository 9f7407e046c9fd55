"""Streams between kubectl and a container: exec, attach and port-forward.

The framing is written once here and serves the shim, the kubelet and the apiserver.
"""
