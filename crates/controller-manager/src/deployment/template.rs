//! Pod templates: when two are the same, and their hash. Counterpart: `EqualIgnoreHash` and `ComputeHash`.
//!
//! Invariants:
//! * The hash is a function of the template's JSON and the collision count alone: fields this version does not know
//!   about and fields that are absent do not change it.
//! * The hash only names a ReplicaSet; equality decides.

use apimachinery::meta::safe_encode_string;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The label that tells the pods of a Deployment's ReplicaSets apart.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// Longest name of an object.
const MAX_NAME_LENGTH: usize = 253;
/// Digits of the largest 32-bit hash.
const MAX_HASH_LENGTH: usize = 10;

/// The template without the hash label, and without the difference between empty and absent.
fn normalized(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let mut meta = template.metadata.take().unwrap_or_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(POD_TEMPLATE_HASH);
    }
    meta.labels = meta.labels.filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.filter(|annotations| !annotations.is_empty());
    meta.creation_timestamp = None;
    template.metadata = Some(meta);
    template
}

/// Whether the templates make the same pods.
pub fn equal(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    normalized(a) == normalized(b)
}

/// Whether a ReplicaSet is of the given template.
pub fn is_of(set: &ReplicaSet, template: Option<&PodTemplateSpec>) -> bool {
    let theirs = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    theirs.zip(template).is_some_and(|(theirs, ours)| equal(theirs, ours))
}

/// FNV-1a, 32 bits.
fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes
        .into_iter()
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The hash of a template, in the letters that names may have.
pub fn hash(template: &PodTemplateSpec, collision_count: Option<i32>) -> String {
    // Serialization of a type made of maps with string keys cannot fail.
    let json = serde_json::to_vec(&normalized(template)).unwrap_or_default();
    let collisions = collision_count.map(i32::to_le_bytes).into_iter().flatten();
    safe_encode_string(&fnv1a(json.into_iter().chain(collisions)).to_string())
}

/// What the names of all ReplicaSets of a Deployment begin with, however long its own is.
pub fn replica_set_name_prefix(deployment: &str) -> &str {
    deployment.get(..MAX_NAME_LENGTH - 1 - MAX_HASH_LENGTH).unwrap_or(deployment)
}

/// The name of the ReplicaSet of a template.
pub fn replica_set_name(deployment: &str, hash: &str) -> String {
    let longest = MAX_NAME_LENGTH.saturating_sub(1 + hash.len());
    let kept = deployment.get(..longest).unwrap_or(deployment);
    format!("{kept}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::label;
    use k8s_openapi::api::core::v1::{Container, PodSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn template(image: &str) -> PodTemplateSpec {
        let container =
            Container { name: "c".into(), image: Some(image.into()), ..Container::default() };
        let metadata = ObjectMeta { labels: label("app", "web"), ..ObjectMeta::default() };
        PodTemplateSpec {
            metadata: Some(metadata),
            spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
        }
    }

    #[test]
    fn hash_is_stable_and_ignores_its_own_label() {
        let mut labeled = template("a:1");
        labeled
            .metadata
            .as_mut()
            .unwrap()
            .labels
            .as_mut()
            .unwrap()
            .insert(POD_TEMPLATE_HASH.into(), "x".into());
        assert!(equal(&template("a:1"), &labeled));
        assert_eq!(hash(&template("a:1"), None), hash(&labeled, None));
        assert_eq!(
            hash(&template("a:1"), None),
            "6b8d4796bd",
            "the same template has the same hash in every version"
        );
        assert_ne!(hash(&template("a:1"), None), hash(&template("a:2"), None));
        assert_ne!(hash(&template("a:1"), None), hash(&template("a:1"), Some(1)));
    }

    #[test]
    fn replica_set_name_fits() {
        assert_eq!(replica_set_name("web", "abc"), "web-abc");
        assert_eq!(replica_set_name(&"x".repeat(253), "abc").len(), 253);
    }
}
