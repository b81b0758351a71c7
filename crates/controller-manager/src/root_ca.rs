//! Publishes the cluster's CA bundle in every namespace. Counterpart: `pkg/controller/certificates/rootcacertpublisher`.
//!
//! Invariant: the ConfigMap holds exactly the bundle, and says what it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Action, Caches, Controller, ObjectKey, Plan, Watches};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::namespaces::{is_active, key_of_namespace};

/// The name that pods mount the bundle by.
const NAME: &str = "kube-root-ca.crt";
/// Of all ConfigMaps of the cluster only these are held.
const SELECTOR: &str = "metadata.name=kube-root-ca.crt";
/// The key of the bundle in it.
const DATA_KEY: &str = "ca.crt";
const DESCRIPTION_ANNOTATION: &str = "kubernetes.io/description";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

/// The publisher; keys are namespaces.
#[derive(Debug)]
pub struct RootCaPublisher {
    /// PEM certificates.
    pub bundle: String,
}

/// A namespace and what it has.
#[derive(Debug)]
pub struct Observed {
    namespace: String,
    published: Option<Arc<ConfigMap>>,
}

impl Controller for RootCaPublisher {
    const NAME: &'static str = "root-ca-certificate-publisher-controller";
    const WORKERS: usize = 1;
    type Key = ObjectKey;
    type Observed = Observed;

    fn watches(&self) -> Watches<ObjectKey> {
        Watches::new().own::<Namespace>().map_selected::<ConfigMap>(SELECTOR, |_, change| {
            let latest = change.latest();
            latest.and_then(|latest| key_of_namespace(&latest.metadata)).into_iter().collect()
        })
    }

    fn observe(&self, caches: &Caches, key: &ObjectKey) -> Option<Observed> {
        caches.of::<Namespace>().get(key).filter(|namespace| is_active(namespace))?;
        let published =
            caches.of::<ConfigMap>().get(&ObjectKey::namespaced(key.name.as_str(), NAME));
        Some(Observed { namespace: key.name.clone(), published })
    }

    fn reconcile(&self, observed: &Observed, _now: Timestamp) -> Plan {
        let data = BTreeMap::from([(DATA_KEY.to_owned(), self.bundle.clone())]);
        let Some(published) = &observed.published else {
            return Action::ensure(&new_config_map(&observed.namespace, data)).into();
        };
        let described = |annotations: &BTreeMap<String, String>| {
            annotations.get(DESCRIPTION_ANNOTATION).is_some_and(|text| !text.is_empty())
        };
        if published.data.as_ref() == Some(&data)
            && published.metadata.annotations.as_ref().is_some_and(described)
        {
            return Plan::nothing();
        }
        let mut wanted = (**published).clone();
        wanted.data = Some(data);
        wanted
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(DESCRIPTION_ANNOTATION.to_owned(), DESCRIPTION.to_owned());
        Action::update(&wanted).into()
    }
}

fn new_config_map(namespace: &str, data: BTreeMap<String, String>) -> ConfigMap {
    let metadata = ObjectMeta {
        name: Some(NAME.to_owned()),
        namespace: Some(namespace.to_owned()),
        annotations: Some(BTreeMap::from([(
            DESCRIPTION_ANNOTATION.to_owned(),
            DESCRIPTION.to_owned(),
        )])),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, describe};

    fn lines(bundle: &str, published: Option<ConfigMap>) -> Vec<String> {
        let observed = Observed { namespace: "ns".into(), published: published.map(Arc::new) };
        describe(&RootCaPublisher { bundle: bundle.into() }.reconcile(&observed, at(0)).actions)
    }

    #[test]
    fn bundle_is_published_and_kept() {
        let published =
            || new_config_map("ns", BTreeMap::from([(DATA_KEY.to_owned(), "CA".to_owned())]));
        assert_eq!(lines("CA", None), ["create configmaps ns/kube-root-ca.crt"]);
        assert!(lines("CA", Some(published())).is_empty());
        assert_eq!(lines("NEW", Some(published())), ["update configmaps ns/kube-root-ca.crt"]);
        let mut bare = published();
        bare.metadata.annotations = None;
        assert_eq!(lines("CA", Some(bare)), ["update configmaps ns/kube-root-ca.crt"]);
    }
}
