//! The selector of a Job, which the server makes of the Job's uid unless it is told not to.
//!
//! Counterpart in Kubernetes: `generateSelector` of `pkg/registry/batch/job` and `validateGeneratedSelector`.

use std::collections::BTreeMap;

use apimachinery::field::{ErrorList, Path};
use apimachinery::labels::Selector;
use k8s_openapi::api::batch::v1::Job;

use crate::report::{Report, text};

const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";
const OLD_UID: &str = "controller-uid";
const OLD_NAME: &str = "job-name";

/// Labels the template and selects these labels. A Job without labels has those of its template.
pub(super) fn generate(job: &mut Job) {
    let (name, uid) = (text(&job.metadata.name).to_owned(), text(&job.metadata.uid).to_owned());
    let spec = job.spec.get_or_insert_default();
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    let inherited = job.metadata.labels.as_ref().is_none_or(|own| *own == *labels);
    if spec.manual_selector != Some(true) {
        for (key, value) in [(OLD_NAME, &name), (NAME, &name), (OLD_UID, &uid), (UID, &uid)] {
            labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
        let selector = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
        selector.entry(UID.to_owned()).or_insert(uid);
    }
    if labels.is_empty() {
        spec.template.metadata.get_or_insert_default().labels = None;
    } else if inherited {
        job.metadata.labels = Some(labels.clone());
    }
}

/// Whether the pods have the labels of newer Kubernetes.
pub(super) fn has_prefixed_labels(job: &Job) -> bool {
    [NAME, UID].iter().all(|key| template_labels(job).contains_key(*key))
}

fn template_labels(job: &Job) -> BTreeMap<String, String> {
    let metadata = job.spec.as_ref().and_then(|s| s.template.metadata.as_ref());
    metadata.and_then(|m| m.labels.clone()).unwrap_or_default()
}

/// A selector that was made is as it would be made.
pub(super) fn validate(job: &Job, prefixed: bool, errors: &mut ErrorList) {
    let Some(spec) = job.spec.as_ref().filter(|s| s.manual_selector != Some(true)) else { return };
    let Some(selector) = &spec.selector else { return };
    let (name, uid) = (text(&job.metadata.name), text(&job.metadata.uid));
    if uid.is_empty() {
        errors.required(&Path::new("metadata").child("uid"), "");
    }
    let wanted = [(OLD_UID, uid), (OLD_NAME, name), (UID, uid), (NAME, name)];
    let wanted = &wanted[..if prefixed { 4 } else { 2 }];
    let labels = template_labels(job);
    let at = Path::new("spec").child("template").child("metadata").child("labels");
    for (key, value) in wanted {
        match labels.get(*key) {
            None => errors.required(&at.key(key), &format!("must be '{value}'")),
            Some(other) if other != value => {
                errors.invalid(&at.key(key), &labels, format!("must be '{value}'"));
            }
            Some(_) => {}
        }
    }
    let wanted = wanted.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    if Selector::from_label_selector(Some(selector)).is_ok_and(|s| !s.matches(&wanted)) {
        errors.invalid(
            &Path::new("spec").child("selector"),
            selector,
            "`selector` not auto-generated",
        );
    }
}
