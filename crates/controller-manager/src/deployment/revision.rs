//! The annotations by which `kubectl rollout` finds its way. Counterpart: `deployment_util.go`.
//!
//! Invariant: the newest ReplicaSet has the highest revision; one that becomes newest again remembers its earlier ones.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

/// The number of a template in the history of a Deployment.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier revisions of a ReplicaSet, separated by commas.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The size of the Deployment when its ReplicaSets were last scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// That size with surge.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that a ReplicaSet does not take over from its Deployment.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
/// Longest list of earlier revisions, in characters, so that it never fills the annotations.
const MAX_HISTORY_LENGTH: usize = 2000;

fn annotation<'a>(annotations: Option<&'a BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    annotations?.get(key).map(String::as_str)
}

/// The revision of a ReplicaSet; 0 when it has none that can be read.
pub fn revision(set: &ReplicaSet) -> i64 {
    annotation(set.metadata.annotations.as_ref(), REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The highest revision.
pub fn max_revision<'a>(sets: impl Iterator<Item = &'a ReplicaSet>) -> i64 {
    sets.map(revision).max().unwrap_or(0)
}

/// A size in an annotation, if it is one.
pub fn size_annotation(set: &ReplicaSet, key: &str) -> Option<i32> {
    annotation(set.metadata.annotations.as_ref(), key)?.parse().ok().filter(|size| *size >= 0)
}

/// Notes the size of the Deployment in a ReplicaSet.
pub fn set_replicas_annotations(set: &mut ReplicaSet, desired: i32, max: i32) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED_REPLICAS.to_owned(), desired.to_string());
    annotations.insert(MAX_REPLICAS.to_owned(), max.to_string());
}

/// Copies the Deployment's annotations to its newest ReplicaSet and gives that at least the revision `next`.
pub fn sync_new_annotations(deployment: &Deployment, set: &mut ReplicaSet, next: i64) {
    let before = annotation(set.metadata.annotations.as_ref(), REVISION).map(str::to_owned);
    let copied = deployment
        .metadata
        .annotations
        .iter()
        .flatten()
        .filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()));
    let copied: BTreeMap<String, String> =
        copied.map(|(key, value)| (key.clone(), value.clone())).collect();
    if !copied.is_empty() {
        set.metadata.annotations.get_or_insert_default().extend(copied);
    }
    let Ok(current) = before.as_deref().unwrap_or("0").parse::<i64>() else { return };
    if current >= next {
        return;
    }
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), next.to_string());
    if let Some(before) = before {
        let history = annotations.get(REVISION_HISTORY).map_or("", String::as_str);
        let history = extend_history(history, &before);
        annotations.insert(REVISION_HISTORY.to_owned(), history);
    }
}

/// Adds a revision at the end; the oldest go when the list gets too long.
fn extend_history(history: &str, revision: &str) -> String {
    let mut revisions: Vec<&str> = history.split(',').filter(|part| !part.is_empty()).collect();
    revisions.push(revision);
    let length = |revisions: &[&str]| revisions.iter().map(|part| part.len() + 1).sum::<usize>();
    while length(&revisions) > MAX_HISTORY_LENGTH + 1 && revisions.len() > 1 {
        revisions.remove(0);
    }
    revisions.join(",")
}

/// Gives the Deployment the revision of its newest ReplicaSet.
pub fn copy_revision(set: &ReplicaSet, deployment: &mut Deployment) {
    let revision =
        annotation(set.metadata.annotations.as_ref(), REVISION).unwrap_or_default().to_owned();
    deployment.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), revision);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_04_revision_grows_and_history_remembers() {
        let mut set = ReplicaSet::default();
        let get = |set: &ReplicaSet, key| {
            annotation(set.metadata.annotations.as_ref(), key).map(str::to_owned)
        };
        sync_new_annotations(&Deployment::default(), &mut set, 1);
        assert_eq!((revision(&set), get(&set, REVISION_HISTORY)), (1, None));
        sync_new_annotations(&Deployment::default(), &mut set, 3);
        assert_eq!((revision(&set), get(&set, REVISION_HISTORY)), (3, Some("1".into())));
        sync_new_annotations(&Deployment::default(), &mut set, 2);
        assert_eq!(revision(&set), 3, "a revision never shrinks");
        sync_new_annotations(&Deployment::default(), &mut set, 7);
        assert_eq!(get(&set, REVISION_HISTORY), Some("1,3".into()));
    }

    #[test]
    fn annotations_are_copied_but_for_the_bookkeeping() {
        let mut deployment = Deployment::default();
        let all = NOT_COPIED
            .iter()
            .chain(&["team"])
            .map(|key| ((*key).to_owned(), "9".to_owned()))
            .collect();
        deployment.metadata.annotations = Some(all);
        let mut set = ReplicaSet::default();
        sync_new_annotations(&deployment, &mut set, 1);
        assert_eq!(
            set.metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(),
            [REVISION, "team"]
        );
    }

    #[test]
    fn history_is_bounded() {
        let mut history = String::new();
        for revision in 0..2000 {
            history = extend_history(&history, &revision.to_string());
        }
        assert!(history.len() <= MAX_HISTORY_LENGTH && history.ends_with(",1999"));
    }
}
