//! What both kinds of binding hold: the role they refer to, and the users, groups and accounts that get it.
//!
//! Counterpart in Kubernetes: the binding parts of `pkg/apis/rbac/validation` and `SubjectsStrings` of `pkg/apis/rbac`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{Role, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::columns::{self, column, wide};
use crate::kinds::{Column, Scope};
use crate::report::{Report, list, omit_empty, text};

const GROUP_NAME: &str = <Role as k8s_openapi::Resource>::GROUP;
const SERVICE_ACCOUNT: &str = "ServiceAccount";
const USER: &str = "User";
const GROUP: &str = "Group";

/// Columns of a binding.
pub(super) const COLUMNS: &[Column] = &[
    columns::NAME,
    column("Role", "string", "Kind and name of the role that is given."),
    columns::AGE,
    wide("Users", "string", "Users that get the role."),
    wide("Groups", "string", "Groups that get the role."),
    wide("ServiceAccounts", "string", "Accounts that get the role."),
];

/// Users, groups and roles are of this API group when nothing is said.
pub(super) fn default_binding(role: &mut RoleRef, subjects: &mut Option<Vec<Subject>>) {
    if text(&role.api_group).is_empty() {
        role.api_group = Some(GROUP_NAME.to_owned());
    }
    for subject in subjects.iter_mut().flatten() {
        omit_empty!(subject; api_group, namespace);
        if matches!(subject.kind.as_str(), USER | GROUP) {
            subject.api_group.get_or_insert_with(|| GROUP_NAME.to_owned());
        }
    }
}

/// The role must be of one of `kinds`.
pub(super) fn validate_role(role: &RoleRef, kinds: &[&str], errors: &mut ErrorList) {
    let at = Path::new("roleRef");
    if text(&role.api_group) != GROUP_NAME {
        errors.not_supported(&at.child("apiGroup"), text(&role.api_group), &[GROUP_NAME]);
    }
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&at.child("kind"), &role.kind, kinds);
    }
    let at = at.child("name");
    if role.name.is_empty() {
        errors.required(&at, "");
    } else {
        errors.invalid_all(&at, &role.name, names::is_path_segment_name(&role.name));
    }
}

/// Every subject is complete; in a binding for the whole cluster accounts need their namespace.
pub(super) fn validate_subjects(
    subjects: &Option<Vec<Subject>>,
    scope: Scope,
    errors: &mut ErrorList,
) {
    for (i, subject) in list(subjects).iter().enumerate() {
        validate_subject(subject, scope, &Path::new("subjects").index(i), errors);
    }
}

fn validate_subject(subject: &Subject, scope: Scope, at: &Path, errors: &mut ErrorList) {
    errors.non_empty(&at.child("name"), &subject.name);
    let group = text(&subject.api_group);
    let group_must_be = |wanted: &'static str, errors: &mut ErrorList| {
        if group != wanted {
            errors.not_supported(&at.child("apiGroup"), group, &[wanted]);
        }
    };
    match subject.kind.as_str() {
        SERVICE_ACCOUNT => {
            if !subject.name.is_empty() {
                errors.dns_subdomain(&at.child("name"), &subject.name);
            }
            group_must_be("", errors);
            if scope == Scope::Cluster {
                errors.non_empty(&at.child("namespace"), text(&subject.namespace));
            }
        }
        USER | GROUP => group_must_be(GROUP_NAME, errors),
        other => {
            errors.not_supported(&at.child("kind"), other, &[SERVICE_ACCOUNT, USER, GROUP]);
        }
    }
}

/// The role of a binding never changes.
pub(super) fn validate_role_update(new: &RoleRef, old: &RoleRef, errors: &mut ErrorList) {
    if new != old {
        errors.invalid(&Path::new("roleRef"), new, "cannot change roleRef");
    }
}

/// Cells of a binding.
pub(super) fn row(
    meta: &ObjectMeta,
    role: &RoleRef,
    subjects: &Option<Vec<Subject>>,
    now: Timestamp,
) -> Vec<Value> {
    let of = |kind: &str| {
        let named = list(subjects).iter().filter(|s| s.kind == kind).map(|s| match kind {
            SERVICE_ACCOUNT if !text(&s.namespace).is_empty() => {
                format!("{}/{}", text(&s.namespace), s.name)
            }
            _ => s.name.clone(),
        });
        Value::String(named.collect::<Vec<_>>().join(", "))
    };
    vec![
        columns::name(meta),
        format!("{}/{}", role.kind, role.name).into(),
        columns::age(meta, now),
        of(USER),
        of(GROUP),
        of(SERVICE_ACCOUNT),
    ]
}
