"""Jobs and CronJobs.

Source: pkg/apis/batch/validation/validation.go.
"""

import re
from typing import Any

from apiserver.validation.metadata import IMMUTABLE
from apiserver.validation.pod import validate_template
from apiserver.validation.workloads import not_negative, selects
from podpath.api import json_codec, selector_rules
from podpath.api.errors import FieldError, go_labels, invalid, not_supported, required
from podpath.api.go_text import quote
from protos.k8s.batch_v1_pb2 import CronJob, Job, JobSpec

_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
    "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_IMMUTABLE = (
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "managedBy",
    "successPolicy",
)
_PARALLELISM_MAX_INDEXED = 100_000
_CRON_JOB_NAME_MAX = 52
_CRON_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_CRON_NAMES = {
    name: number
    for names in (
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    )
    for number, name in enumerate(names, start=1)
} | {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_CRON_DESCRIPTORS = {
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
}


def validate_job(job: Job) -> list[FieldError]:
    found = _job_spec(job.spec, "spec")
    if not job.spec.HasField("selector"):
        found.append(required("spec.selector"))
        return found
    found += selector_rules.validate_message(job.spec.selector, "spec.selector")
    labels = job.spec.template.metadata.labels
    if not selects(job.spec.selector, labels):
        detail = "`selector` does not match template `labels`"
        found.append(invalid("spec.template.metadata.labels", go_labels(labels), detail))
    return found


def validate_job_update(new: Job, old: Job) -> list[FieldError]:
    found = validate_job(new)
    indexed = old.spec.completionMode == "Indexed"
    if new.spec.completions != old.spec.completions and not indexed:
        found.append(invalid("spec.completions", new.spec.completions, IMMUTABLE))
    if new.spec.selector != old.spec.selector:
        shown = selector_rules.go_selector(new.spec.selector)
        found.append(invalid("spec.selector", shown, IMMUTABLE))
    shown_template = json_codec.to_json(new.spec.template)
    if shown_template != json_codec.to_json(old.spec.template):
        found.append(invalid("spec.template", shown_template, IMMUTABLE))
    after, before = json_codec.to_json(new.spec), json_codec.to_json(old.spec)
    found += [
        invalid(f"spec.{name}", after.get(name), IMMUTABLE)
        for name in _IMMUTABLE
        if after.get(name) != before.get(name)
    ]
    return found


def _job_spec(spec: JobSpec, path: str) -> list[FieldError]:
    found = not_negative(spec, path, *_COUNTS)
    if spec.HasField("maxFailedIndexes") and not spec.HasField("backoffLimitPerIndex"):
        here = f"{path}.backoffLimitPerIndex"
        found.append(required(here, "when maxFailedIndexes is specified"))
    found += _completion_mode(spec, path)
    found += validate_template(spec.template, f"{path}.template")
    policy = spec.template.spec.restartPolicy
    here = f"{path}.template.spec.restartPolicy"
    if policy in {"", "Always"}:
        found.append(required(here, 'valid values: "OnFailure", "Never"'))
    elif policy not in {"OnFailure", "Never"}:
        found.append(not_supported(here, policy, ("OnFailure", "Never")))
    elif spec.HasField("podFailurePolicy") and policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        found.append(invalid(here, policy, detail))
    return found


def _completion_mode(spec: JobSpec, path: str) -> list[FieldError]:
    mode = spec.completionMode
    if spec.HasField("completionMode") and mode not in {"NonIndexed", "Indexed"}:
        return [not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))]
    found = []
    if mode == "Indexed":
        if not spec.HasField("completions"):
            found.append(required(f"{path}.completions", "when completion mode is Indexed"))
        if spec.parallelism > _PARALLELISM_MAX_INDEXED:
            detail = (
                f"must be less than or equal to {_PARALLELISM_MAX_INDEXED} when completion mode "
                "is Indexed"
            )
            found.append(invalid(f"{path}.parallelism", spec.parallelism, detail))
        return found
    for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.HasField(name):
            detail = "requires indexed completion mode"
            found.append(invalid(f"{path}.{name}", getattr(spec, name), detail))
    return found


def validate_cron_job(cron_job: CronJob) -> list[FieldError]:
    spec = cron_job.spec
    found: list[FieldError] = []
    if not spec.schedule:
        found.append(required("spec.schedule"))
    else:
        found += _schedule(spec.schedule)
    found += not_negative(spec, "spec", "startingDeadlineSeconds")
    policies = ("Allow", "Forbid", "Replace")
    if spec.concurrencyPolicy not in policies:
        found.append(not_supported("spec.concurrencyPolicy", spec.concurrencyPolicy, policies))
    found += _job_spec(spec.jobTemplate.spec, "spec.jobTemplate.spec")
    if spec.jobTemplate.spec.manualSelector:
        here = "spec.jobTemplate.spec.manualSelector"
        found.append(not_supported(here, True, ("nil", "false")))
    found += not_negative(spec, "spec", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    name = cron_job.metadata.name
    if len(name) > _CRON_JOB_NAME_MAX:
        detail = f"must be no more than {_CRON_JOB_NAME_MAX} characters"
        found.append(invalid("metadata.name", name, detail))
    return found


def validate_cron_job_update(new: CronJob, old: Any) -> list[FieldError]:
    return [error for error in validate_cron_job(new) if error.path != "metadata.name"]


def _schedule(schedule: str) -> list[FieldError]:
    found = []
    problem = _cron_problem(schedule)
    if problem:
        found.append(invalid("spec.schedule", schedule, problem))
    if "TZ" in schedule:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        found.append(invalid("spec.schedule", schedule, detail))
    return found


def _cron_problem(schedule: str) -> str:
    """What is wrong with a cron line; the words for the usual mistakes are upstream's."""
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        schedule = schedule.partition(" ")[2].strip()
    if schedule.startswith("@"):
        known = schedule in _CRON_DESCRIPTORS or schedule.startswith("@every ")
        return "" if known else f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != len(_CRON_FIELDS):
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for text, (low, high) in zip(fields, _CRON_FIELDS, strict=True):
        for part in text.split(","):
            problem = _cron_part_problem(part, low, high)
            if problem:
                return problem
    return ""


def _cron_part_problem(part: str, low: int, high: int) -> str:
    span, _, step = part.partition("/")
    if step and not (step.isdigit() and int(step)):
        if step == "0":
            return f"step of range should be a positive number: {part}"
        return (
            f"failed to parse int from {step}: strconv.Atoi: parsing {quote(step)}: invalid syntax"
        )
    if span in {"*", "?"}:
        return ""
    bounds = []
    for text in re.split("-", span):
        number = _CRON_NAMES.get(text.lower(), int(text) if text.isdigit() else None)
        if number is None:
            return (
                f"failed to parse int from {text}: strconv.Atoi: parsing {quote(text)}: "
                "invalid syntax"
            )
        bounds.append(number)
    if len(bounds) > 2:
        return f"too many hyphens: {part}"
    if bounds[0] < low:
        return f"beginning of range ({bounds[0]}) below minimum ({low}): {part}"
    if bounds[-1] > high:
        return f"end of range ({bounds[-1]}) above maximum ({high}): {part}"
    if bounds[0] > bounds[-1]:
        return f"beginning of range ({bounds[0]}) beyond end of range ({bounds[-1]}): {part}"
    return ""
