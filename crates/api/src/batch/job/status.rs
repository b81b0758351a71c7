//! Rules for how the status of a Job may change: whoever manages the Job, its end is its end.
//!
//! Counterpart in Kubernetes: `ValidateJobStatusUpdate` of `pkg/apis/batch/validation`, and the options that
//! `getStatusValidationOptions` gives it. Most rules hold only when what they speak about has changed.

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods};

use super::policies::without_value;
use super::{FAILED, INDEXED, has, indexes};
use crate::report::{Report, list, text};

const COMPLETE: &str = "Complete";
const FAILURE_TARGET: &str = "FailureTarget";
const SUCCESS: &str = "SuccessCriteriaMet";

/// The new status and the old one, and what differs.
struct Change<'a> {
    spec: &'a JobSpec,
    new: &'a JobStatus,
    old: &'a JobStatus,
    at: Path,
}

impl Change<'_> {
    fn is(&self, condition: &str) -> bool {
        has(self.new, condition, "True")
    }
    fn was(&self, condition: &str) -> bool {
        has(self.old, condition, "True")
    }
    fn turned(&self, condition: &str) -> bool {
        self.is(condition) != self.was(condition)
    }
    fn finished(&self) -> bool {
        self.is(COMPLETE) || self.is(FAILED)
    }
    fn finish_turned(&self) -> bool {
        self.finished() != (self.was(COMPLETE) || self.was(FAILED))
    }
    /// Says what is wrong with the conditions.
    fn refuse(&self, wrong: bool, detail: &str, errors: &mut ErrorList) {
        if wrong {
            errors.push(without_value(&self.at.child("conditions"), detail));
        }
    }
}

pub(super) fn validate_update(new: &Job, old: &Job, errors: &mut ErrorList) {
    let spec = new.spec.clone().unwrap_or_default();
    let (new, old) =
        (new.status.clone().unwrap_or_default(), old.status.clone().unwrap_or_default());
    let change = Change { spec: &spec, new: &new, old: &old, at: Path::new("status") };
    validate_counters(&change, errors);
    validate_ends(&change, errors);
    validate_times(&change, errors);
    validate_pods_of_finished(&change, errors);
    validate_indexes(&change, errors);
    validate_success(&change, errors);
    validate_kept(&change, errors);
}

fn validate_counters(change: &Change, errors: &mut ErrorList) {
    let (new, at) = (change.new, &change.at);
    for (name, count) in [
        ("active", new.active),
        ("succeeded", new.succeeded),
        ("failed", new.failed),
        ("ready", new.ready),
        ("terminating", new.terminating),
    ] {
        errors.non_negative(&at.child(name), count.unwrap_or(0).into());
    }
    if let Some(uncounted) = &new.uncounted_terminated_pods {
        validate_uncounted(uncounted, &at.child("uncountedTerminatedPods"), errors);
    }
}

fn validate_uncounted(pods: &UncountedTerminatedPods, at: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (name, uids) in [("succeeded", &pods.succeeded), ("failed", &pods.failed)] {
        for (i, uid) in list(uids).iter().enumerate() {
            let at = at.child(name).index(i);
            if uid.is_empty() {
                errors.invalid(&at, uid, "must not be empty");
            } else if !seen.insert(uid) {
                errors.duplicate(&at, uid);
            }
        }
    }
}

fn validate_ends(change: &Change, errors: &mut ErrorList) {
    let complete = change.is(COMPLETE);
    let (completed, failed) = (change.turned(COMPLETE), change.turned(FAILED));
    let indexes = change.new.failed_indexes != change.old.failed_indexes;
    change.refuse(
        (completed || failed) && complete && change.is(FAILED),
        "cannot set Complete=True and Failed=true conditions",
        errors,
    );
    change.refuse(
        (completed || change.turned(FAILURE_TARGET)) && complete && change.is(FAILURE_TARGET),
        "cannot set Complete=True and FailureTarget=true conditions",
        errors,
    );
    change.refuse(
        (failed || indexes) && change.is(FAILED) && !change.is(FAILURE_TARGET),
        "cannot set Failed=True condition without the FailureTarget=true condition",
        errors,
    );
    change.refuse(
        (completed || change.turned(SUCCESS)) && complete && !change.is(SUCCESS),
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        errors,
    );
}

fn validate_times(change: &Change, errors: &mut ErrorList) {
    let (new, old) = (change.new, change.old);
    let (started, ended) =
        (new.start_time != old.start_time, new.completion_time != old.completion_time);
    let at = change.at.child("completionTime");
    if ended || change.turned(COMPLETE) {
        match (&new.completion_time, change.is(COMPLETE)) {
            (Some(time), false) => {
                let detail = "cannot set completionTime when there is no Complete=True condition";
                errors.invalid(&at, time, detail);
            }
            (None, true) => errors.required(&at, "completionTime is required for Complete jobs"),
            _ => {}
        }
    }
    if (started || ended)
        && let (Some(start), Some(end)) = (&new.start_time, &new.completion_time)
        && end < start
    {
        errors.invalid(&at, end, "must be equal to or after `startTime`");
    }
    if ended && old.completion_time.is_some() && new.completion_time.is_some() {
        errors.invalid(&at, &new.completion_time, "field is immutable");
    }
    let resumed = has(old, "Suspended", "True") && has(new, "Suspended", "False");
    let suspended = change.spec.suspend == Some(true);
    let at = change.at.child("startTime");
    if started && !resumed && old.start_time.is_some() && !suspended {
        let detail = "field is immutable for unsuspended job once set";
        errors.invalid(&at, &new.start_time, detail);
    }
    let nothing_to_do = suspended && change.spec.completions == Some(0);
    let concerned = (change.finish_turned() || started) && !nothing_to_do;
    if concerned && new.start_time.is_none() && change.finished() {
        errors.required(&at, "startTime is required for finished job");
    }
}

fn validate_pods_of_finished(change: &Change, errors: &mut ErrorList) {
    let (new, old, at) = (change.new, change.old, &change.at);
    let (turned, finished) = (change.finish_turned(), change.finished());
    let active = new.active.unwrap_or(0);
    let active_changed = active != old.active.unwrap_or(0);
    if (turned || active_changed) && active > 0 && finished {
        errors.invalid(&at.child("active"), active, "active>0 is invalid for finished job");
    }
    let uncounted = &new.uncounted_terminated_pods;
    let some = uncounted
        .as_ref()
        .is_some_and(|pods| !list(&pods.failed).is_empty() || !list(&pods.succeeded).is_empty());
    if (turned || *uncounted != old.uncounted_terminated_pods) && finished && some {
        let at = at.child("uncountedTerminatedPods");
        errors.invalid(&at, uncounted, "must be empty for finished job");
    }
    let terminating = new.terminating.filter(|n| *n > 0);
    if (turned || new.terminating != old.terminating) && finished && terminating.is_some() {
        let detail = "terminating>0 is invalid for finished job";
        errors.invalid(&at.child("terminating"), terminating, detail);
    }
    if let Some(ready) = new.ready.filter(|ready| *ready > active)
        && (new.ready != old.ready || active_changed)
    {
        errors.invalid(&at.child("ready"), ready, "cannot set more ready pods than active");
    }
}

fn validate_indexes(change: &Change, errors: &mut ErrorList) {
    let (new, old, spec) = (change.new, change.old, change.spec);
    let (completed, before) = (text(&new.completed_indexes), text(&old.completed_indexes));
    let (at_completed, at_failed) =
        (change.at.child("completedIndexes"), change.at.child("failedIndexes"));
    let completed_changed = completed != before;
    let failed_changed = new.failed_indexes != old.failed_indexes;
    let count = |text: &str| spec.completions.map_or(Ok(0), |n| indexes::count(text, n));
    if completed_changed && let Err(problem) = count(completed) {
        let detail = format!("error parsing completedIndexes: {problem}");
        errors.invalid(&at_completed, completed, detail);
    }
    if completed_changed && !completed.is_empty() && text(&spec.completion_mode) != INDEXED {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(&at_completed, completed, detail);
    }
    let Some(failed) = &new.failed_indexes else { return };
    if failed_changed && spec.backoff_limit_per_index.is_none() {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid(&at_failed, failed, detail);
    } else if failed_changed && let Err(problem) = count(failed) {
        errors.invalid(&at_failed, failed, format!("error parsing failedIndexes: {problem}"));
    }
    if (failed_changed || completed_changed)
        && let Some(completions) = spec.completions
        && let Some(problem) = indexes::overlap(completed, failed, completions)
    {
        errors.invalid(&at_failed, failed, problem);
    }
}

fn validate_success(change: &Change, errors: &mut ErrorList) {
    let success = change.is(SUCCESS);
    change.refuse(
        success && change.is(FAILED),
        "cannot set SuccessCriteriaMet=True and Failed=true conditions",
        errors,
    );
    change.refuse(
        success && change.is(FAILURE_TARGET),
        "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        errors,
    );
    change.refuse(
        change.spec.success_policy.is_some() && !success && change.is(COMPLETE),
        "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        errors,
    );
}

/// What has happened stays.
fn validate_kept(change: &Change, errors: &mut ErrorList) {
    let (new, old, spec) = (change.new, change.old, change.spec);
    for condition in [FAILED, COMPLETE, FAILURE_TARGET] {
        let detail = format!("cannot disable the terminal {condition}=True condition");
        change.refuse(change.was(condition) && !change.is(condition), &detail, errors);
    }
    let elastic = text(&spec.completion_mode) == INDEXED && spec.completions == spec.parallelism;
    for (name, now, before, kept) in [
        ("failed", new.failed, old.failed, true),
        ("succeeded", new.succeeded, old.succeeded, !elastic),
    ] {
        let now = now.unwrap_or(0);
        if kept && now < before.unwrap_or(0) {
            let detail = format!("cannot decrease the {name} counter");
            errors.invalid(&change.at.child(name), now, detail);
        }
    }
    change.refuse(
        change.was(SUCCESS) && !change.is(SUCCESS),
        "cannot disable the SuccessCriteriaMet=True condition",
        errors,
    );
    change.refuse(
        change.was(COMPLETE) && !change.was(SUCCESS) && change.is(SUCCESS),
        "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
        errors,
    );
}
