"""Defaults of batch/v1.

Source: pkg/apis/batch/v1/defaults.go.
"""

from apiserver.defaulting.pod import pod_spec_defaults
from protos.k8s.batch_v1_pb2 import CronJob, Job, JobSpec

_BACKOFF_LIMIT = 6
_NO_LIMIT = 2**31 - 1


def job_defaults(job: Job) -> None:
    spec = job.spec
    if not spec.HasField("parallelism"):
        if not spec.HasField("completions"):
            spec.completions = 1
        spec.parallelism = 1
    if not spec.HasField("backoffLimit"):
        per_index = spec.HasField("backoffLimitPerIndex")
        spec.backoffLimit = _NO_LIMIT if per_index else _BACKOFF_LIMIT
    if not job.metadata.labels:
        job.metadata.labels.update(spec.template.metadata.labels)
    if not spec.HasField("completionMode"):
        spec.completionMode = "NonIndexed"
    if not spec.HasField("suspend"):
        spec.suspend = False
    _failure_policy(spec)
    if not spec.HasField("manualSelector"):
        spec.manualSelector = False
    pod_spec_defaults(spec.template.spec)


def _failure_policy(spec: JobSpec) -> None:
    if spec.HasField("podFailurePolicy"):
        for rule in spec.podFailurePolicy.rules:
            for pattern in rule.onPodConditions:
                pattern.status = pattern.status or "True"
    if not spec.HasField("podReplacementPolicy"):
        has_policy = spec.HasField("podFailurePolicy")
        spec.podReplacementPolicy = "Failed" if has_policy else "TerminatingOrFailed"


def cron_job_defaults(cron_job: CronJob) -> None:
    spec = cron_job.spec
    spec.concurrencyPolicy = spec.concurrencyPolicy or "Allow"
    if not spec.HasField("suspend"):
        spec.suspend = False
    if not spec.HasField("successfulJobsHistoryLimit"):
        spec.successfulJobsHistoryLimit = 3
    if not spec.HasField("failedJobsHistoryLimit"):
        spec.failedJobsHistoryLimit = 1
    pod_spec_defaults(spec.jobTemplate.spec.template.spec)
