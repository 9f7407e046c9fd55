"""A CRI server (runtime.v1): Pods' sandboxes and containers on an engine of choice."""
