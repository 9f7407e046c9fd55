"""PATCH: changes an object by a document, on its JSON tree.

Source: k8s.io/apiserver pkg/endpoints/handlers/patch.go.
"""
