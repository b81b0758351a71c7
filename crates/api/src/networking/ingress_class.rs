//! IngressClass: which controller carries out the Ingresses of this class.
//!
//! Counterpart in Kubernetes: `pkg/registry/networking/ingressclass`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference};
use serde_json::Value;

use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, omit_empty, text};
use crate::strategy::KindStrategy;

const MAX_CONTROLLER_BYTES: usize = 250;
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const CLUSTER: &str = "Cluster";
const NAMESPACE: &str = "Namespace";

impl KindStrategy for IngressClass {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Controller", "string", "Controller that carries out Ingresses of this class."),
        column("Parameters", "string", "Object with further settings."),
        columns::AGE,
    ];
    const GENERATION: bool = true;

    fn default_fields(&mut self) {
        let spec = self.spec.get_or_insert_default();
        omit_empty!(spec; controller);
        if let Some(parameters) = &mut spec.parameters {
            parameters.scope.get_or_insert_with(|| CLUSTER.to_owned());
        }
    }

    fn validate(&self, errors: &mut ErrorList) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        let (controller, at_controller) = (text(&spec.controller), at.child("controller"));
        if controller.len() > MAX_CONTROLLER_BYTES {
            errors.too_long(&at_controller, MAX_CONTROLLER_BYTES);
        }
        super::validate_domain_prefixed_path(controller, &at_controller, errors);
        if let Some(parameters) = &spec.parameters {
            validate_parameters(parameters, &at.child("parameters"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let of = |class: &Self| class.spec.as_ref().and_then(|s| s.controller.clone());
        let (new, old) = (of(self).unwrap_or_default(), of(old).unwrap_or_default());
        errors.unchanged(&Path::new("spec").child("controller"), &new, &old);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let annotations = self.metadata.annotations.as_ref();
        let default = annotations.and_then(|a| a.get(IS_DEFAULT)).is_some_and(|v| v == "true");
        let mark = if default { " (default)" } else { "" };
        let spec = self.spec.as_ref();
        let parameters = spec.and_then(|s| s.parameters.as_ref()).map(|p| {
            let group = p.api_group.as_ref().map(|g| format!(".{g}")).unwrap_or_default();
            format!("{}{group}/{}", p.kind, p.name)
        });
        vec![
            format!("{}{mark}", text(&self.metadata.name)).into(),
            spec.map(|s| text(&s.controller)).unwrap_or_default().into(),
            columns::or_none(parameters.as_deref()),
            columns::age(&self.metadata, now),
        ]
    }

    fn same_spec(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

fn validate_parameters(
    parameters: &IngressClassParametersReference,
    at: &Path,
    errors: &mut ErrorList,
) {
    let group = parameters.api_group.as_deref();
    super::validate_reference(group, &parameters.kind, &parameters.name, at, errors);
    let at_namespace = at.child("namespace");
    match (text(&parameters.scope), &parameters.namespace) {
        (NAMESPACE, None) => {
            errors.required(&at_namespace, "`parameters.scope` is set to 'Namespace'");
        }
        (NAMESPACE, Some(namespace)) => {
            let problems = meta::name_is_dns_label(namespace, meta::NameUse::Whole);
            errors.invalid_all(&at_namespace, namespace, problems);
        }
        (CLUSTER, Some(_)) => {
            errors.forbidden(&at_namespace, "`parameters.scope` is set to 'Cluster'");
        }
        (CLUSTER, None) => {}
        (other, _) => errors.not_supported(&at.child("scope"), other, &[CLUSTER, NAMESPACE]),
    }
}
