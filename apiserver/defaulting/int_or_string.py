"""Writing the int-or-string fields that defaults fill in."""

from protos.k8s.intstr_pb2 import IntOrString


def set_value(field: IntOrString, value: int | str) -> None:
    """Sets all three fields, as upstream's encoder writes them."""
    is_text = isinstance(value, str)
    field.type = 1 if is_text else 0
    field.intVal = 0 if isinstance(value, str) else value
    field.strVal = value if isinstance(value, str) else ""
