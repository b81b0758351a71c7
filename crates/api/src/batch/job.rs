//! Job: pods that run until enough of them have succeeded.
//!
//! Counterpart in Kubernetes: `pkg/registry/batch/job`.

mod indexes;
mod policies;
mod selector;
mod spec;
mod status;

use apimachinery::field::{ErrorList, Path};
use apimachinery::{labels, names};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use serde_json::Value;

use crate::apps::template;
use crate::columns::{self, column};
use crate::core::pod;
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, list, omit_empty, text};
use crate::strategy::{KindStrategy, spec_and_status};

pub(super) use spec::{validate as validate_spec, warnings as spec_warnings};

const INDEXED: &str = "Indexed";
const NON_INDEXED: &str = "NonIndexed";
const FAILED: &str = "Failed";
const TERMINATING_OR_FAILED: &str = "TerminatingOrFailed";
/// How often pods may fail when nobody says so.
const BACKOFF_LIMIT: i32 = 6;

impl KindStrategy for Job {
    const ORPHANS_DEPENDENTS: bool = true;
    const SELECTABLE: &'static [&'static str] =
        &["metadata.name", "metadata.namespace", "status.successful"];
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Status", "string", "How far the job has come."),
        column("Completions", "string", "Pods that succeeded of those that should."),
        column("Duration", "string", "Time the job took, or has taken."),
        columns::AGE,
        columns::CONTAINERS,
        columns::IMAGES,
        columns::SELECTOR,
    ];
    const GENERATION: bool = true;

    spec_and_status!();

    fn default_fields(&mut self) {
        let spec = self.spec.get_or_insert_default();
        default_spec(spec);
        if self.metadata.labels.is_none() {
            let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone());
            self.metadata.labels = labels;
        }
        default_status(self.status.get_or_insert_default());
    }

    fn on_create(&mut self) {
        selector::generate(self);
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        selector::validate(self, true, errors);
        validate_all(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        selector::validate(self, selector::has_prefixed_labels(old), errors);
        validate_all(self, errors);
        spec::validate_update(self, old, errors);
    }

    fn validate_status_update(&self, old: &Self, errors: &mut ErrorList) {
        status::validate_update(self, old, errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        if old.is_some_and(|old| old.metadata.generation == self.metadata.generation) {
            return Vec::new();
        }
        let name = self.metadata.name.as_deref();
        let name = old.is_none().then(|| template::name_warning(name)).flatten();
        let spec = self.spec.as_ref().map(|s| spec::warnings(s, &Path::new("spec")));
        name.into_iter().chain(spec.unwrap_or_default()).collect()
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut all = fields::metadata(&self.metadata, Scope::Namespaced);
        let succeeded = self.status.as_ref().and_then(|s| s.succeeded).unwrap_or(0);
        all.push(("status.successful", succeeded.to_string()));
        all
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let (spec, status) =
            (self.spec.clone().unwrap_or_default(), self.status.clone().unwrap_or_default());
        let pod = spec.template.spec.clone().unwrap_or_default();
        let [containers, images] = columns::containers(&pod.containers);
        vec![
            columns::name(&self.metadata),
            progress(self, &status).into(),
            completions(&spec, &status).into(),
            duration(&status, now).into(),
            columns::age(&self.metadata, now),
            containers,
            images,
            labels::format_label_selector(spec.selector.as_ref()).into(),
        ]
    }
}

fn default_spec(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let per_index = spec.backoff_limit_per_index.is_some();
    spec.backoff_limit.get_or_insert(if per_index { i32::MAX } else { BACKOFF_LIMIT });
    spec.completion_mode.get_or_insert_with(|| NON_INDEXED.to_owned());
    spec.suspend.get_or_insert(false);
    let strict = spec.pod_failure_policy.is_some();
    let replacement = if strict { FAILED } else { TERMINATING_OR_FAILED };
    spec.pod_replacement_policy.get_or_insert_with(|| replacement.to_owned());
    spec.manual_selector.get_or_insert(false);
    default_parts(spec);
}

/// What a Job and the template of one have in common.
pub(super) fn default_parts(spec: &mut JobSpec) {
    if let Some(selector) = &mut spec.selector {
        template::default_selector(selector);
    }
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules);
    for rule in rules {
        omit_empty!(rule; on_pod_conditions);
        for pattern in rule.on_pod_conditions.iter_mut().flatten() {
            omit_empty!(pattern; status);
            pattern.status.get_or_insert_with(|| "True".to_owned());
        }
    }
    pod::default_template(&mut spec.template);
}

fn default_status(status: &mut JobStatus) {
    omit_empty!(status; conditions, completed_indexes);
    for counter in [&mut status.active, &mut status.succeeded, &mut status.failed] {
        *counter = counter.filter(|n| *n != 0);
    }
    if let Some(uncounted) = &mut status.uncounted_terminated_pods {
        omit_empty!(uncounted; succeeded, failed);
    }
}

/// Rules for a Job, on create and on update.
fn validate_all(job: &Job, errors: &mut ErrorList) {
    let Some(spec) = &job.spec else { return };
    let at = Path::new("spec");
    spec::validate(spec, &at, errors);
    spec::validate_selector(spec, &at, errors);
    let Some(completions) = spec.completions.filter(|n| *n > 0) else { return };
    if text(&spec.completion_mode) == INDEXED {
        let name = text(&job.metadata.name);
        let host = format!("{name}-{}", completions - 1);
        if !names::is_dns1123_label(&host).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {host}");
            errors.invalid(&Path::new("metadata").child("name"), name, detail);
        }
    }
}

/// Whether the condition is there, with this status.
fn has(status: &JobStatus, condition: &str, value: &str) -> bool {
    list(&status.conditions).iter().any(|c| c.type_ == condition && c.status == value)
}

fn progress(job: &Job, status: &JobStatus) -> &'static str {
    let is = |condition| has(status, condition, "True");
    match () {
        () if is("Complete") => "Complete",
        () if is(FAILED) => FAILED,
        () if job.metadata.deletion_timestamp.is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(spec: &JobSpec, status: &JobStatus) -> String {
    let succeeded = status.succeeded.unwrap_or(0);
    match (spec.completions, spec.parallelism.unwrap_or(0)) {
        (Some(wished), _) => format!("{succeeded}/{wished}"),
        (None, parallelism @ 2..) => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(status: &JobStatus, now: Timestamp) -> String {
    let Some(start) = &status.start_time else { return String::new() };
    columns::human_since(start.0, status.completion_time.as_ref().map_or(now, |end| end.0))
}
