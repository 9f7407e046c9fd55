"""Table rows by kind.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go.
"""
