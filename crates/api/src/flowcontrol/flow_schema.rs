//! FlowSchema: which requests belong to which priority level.
//!
//! Counterpart in Kubernetes: `pkg/registry/flowcontrol/flowschema` and `pkg/apis/flowcontrol/validation`.

mod rules;

use std::collections::BTreeSet;

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaSpec};
use serde_json::{Value, json};

use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, list, text};
use crate::strategy::{KindStrategy, keep_metadata, spec_and_status};

const EXEMPT: &str = "exempt";
const DEFAULT_PRECEDENCE: i32 = 1000;
const MAX_PRECEDENCE: i32 = 10_000;
const METHODS: &[&str] = &["ByNamespace", "ByUser"];

impl KindStrategy for FlowSchema {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("PriorityLevel", "string", "Level the requests belong to."),
        column("MatchingPrecedence", "string", "The lowest number that matches counts."),
        column("DistinguisherMethod", "string", "What tells the flows apart."),
        columns::AGE,
        column("MissingPL", "string", "Whether the level does not exist."),
    ];
    const GENERATION: bool = true;

    spec_and_status!();

    fn default_fields(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if spec.matching_precedence.is_none_or(|precedence| precedence == 0) {
            spec.matching_precedence = Some(DEFAULT_PRECEDENCE);
        }
        for rule in
            spec.rules.iter_mut().flatten().flat_map(|r| r.resource_rules.iter_mut().flatten())
        {
            rule.cluster_scope = rule.cluster_scope.filter(|set| *set);
        }
        self.status.get_or_insert_default();
    }

    fn on_status_update(&mut self, old: &Self) {
        keep_metadata(&mut self.metadata, &old.metadata);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let spec = self.spec.clone().unwrap_or_default();
        let (name, at) = (text(&self.metadata.name), Path::new("spec"));
        validate_spec(name, &spec, &at, errors);
        if mandatory(name).is_some_and(|wanted| wanted != json!(spec)) {
            errors.invalid(&at, &spec, format!("spec of '{name}' must equal the fixed value"));
        }
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut ErrorList) {
        let conditions = self.status.as_ref().map(|s| list(&s.conditions)).unwrap_or_default();
        validate_types(conditions.iter().map(|c| text(&c.type_)), errors);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        let conditions = self.status.as_ref().map(|s| list(&s.conditions)).unwrap_or_default();
        let dangling = conditions.iter().find(|c| text(&c.type_) == "Dangling");
        vec![
            columns::name(&self.metadata),
            spec.priority_level_configuration.name.into(),
            spec.matching_precedence.unwrap_or_default().into(),
            columns::or_none(spec.distinguisher_method.as_ref().map(|m| m.type_.as_str())),
            columns::age(&self.metadata, now),
            dangling.map_or("?", |c| text(&c.status)).into(),
        ]
    }
}

/// Types of conditions are there, and each once.
pub(super) fn validate_types<'a>(types: impl Iterator<Item = &'a str>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, type_) in types.enumerate() {
        let at = Path::new("status").child("conditions").index(i).child("type");
        if !seen.insert(type_) {
            errors.duplicate(&at, type_);
        }
        errors.non_empty(&at, type_);
    }
}

/// The specs that every cluster has in this form.
fn mandatory(name: &str) -> Option<Value> {
    let (precedence, method, groups) = match name {
        EXEMPT => (1, None, &["system:masters"][..]),
        "catch-all" => (
            MAX_PRECEDENCE,
            Some("ByUser"),
            &["system:unauthenticated", "system:authenticated"][..],
        ),
        _ => return None,
    };
    let subjects: Vec<_> =
        groups.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect();
    let mut spec = json!({
        "matchingPrecedence": precedence,
        "priorityLevelConfiguration": {"name": name},
        "rules": [{
            "subjects": subjects,
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }],
    });
    if let Some(method) = method {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    Some(spec)
}

fn validate_spec(name: &str, spec: &FlowSchemaSpec, at: &Path, errors: &mut ErrorList) {
    let (precedence, at_precedence) =
        (spec.matching_precedence.unwrap_or_default(), at.child("matchingPrecedence"));
    if precedence <= 0 {
        errors.invalid(&at_precedence, precedence, "must be a positive value");
    }
    if precedence > MAX_PRECEDENCE {
        let detail = format!("must not be greater than {MAX_PRECEDENCE}");
        errors.invalid(&at_precedence, precedence, detail);
    }
    if precedence == 1 && name != EXEMPT {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.invalid(&at_precedence, precedence, detail);
    }
    if let Some(method) = spec.distinguisher_method.as_ref()
        && !METHODS.contains(&method.type_.as_str())
    {
        let at = at.child("distinguisherMethod").child("type");
        errors.push(apimachinery::field::not_supported(&at, method, METHODS));
    }
    let (level, at_level) = (
        &spec.priority_level_configuration.name,
        at.child("priorityLevelConfiguration").child("name"),
    );
    if level.is_empty() {
        errors.required(&at_level, "must reference a priority level");
    } else {
        errors.dns_subdomain(&at_level, level);
    }
    for (i, rule) in list(&spec.rules).iter().enumerate() {
        rules::validate(rule, &at.child("rules").index(i), errors);
    }
}
