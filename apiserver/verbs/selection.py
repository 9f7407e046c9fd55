"""Which objects a list or watch wants: namespace, labels and fields as one filter."""

from apiserver.registry.views import View
from apiserver.storage.watchers import Filter, Predicate
from apiserver.verbs.interface import Selectors, Target
from podpath.api import fields
from podpath.api.field_selectors import FieldSelector
from podpath.api.selectors import LabelSelector

_INDEXED = ("metadata.name", "spec.nodeName")


def filter_of(view: View, target: Target, texts: Selectors) -> Filter:
    """Of stored versions, by what the request's resource shows of them.

    Raises: BadRequest for a selector that cannot be read.
    """
    labels = fields.parse_labels(texts.labels)
    wanted = fields.parse(target.resource, texts.fields)
    exact = {name: v for name in _INDEXED if (v := wanted.exact(name)) is not None}
    namespace = target.namespace if target.resource.namespaced else ""
    return Filter(namespace, _predicate(view, labels, wanted), exact)


def _predicate(view: View, labels: LabelSelector, wanted: FieldSelector) -> Predicate | None:
    if labels.everything and wanted.everything:
        return None
    resource = view.resource

    def matches(obj: object) -> bool:
        return fields.matches(resource, obj, wanted)  # type: ignore[arg-type]

    if labels.everything:
        return lambda version: matches(view.show(version).object)
    if wanted.everything:
        return lambda version: labels.matches(version.object.metadata.labels)
    return lambda version: (
        labels.matches(version.object.metadata.labels) and matches(view.show(version).object)
    )
