//! CertificateSigningRequest: somebody wants a certificate; somebody approves, somebody signs.
//!
//! Counterpart in Kubernetes: `pkg/registry/certificates/certificates`. Who asks is filled in by admission. Conditions that
//! approve or deny change by `approval` alone, the certificate by `status` alone.

mod pem;
mod validation;

use apimachinery::field::ErrorList;
use apimachinery::meta::{NameRule, NameUse};
use apimachinery::time;
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use serde_json::Value;

use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{list, omit_empty, text};
use crate::strategy::{KindStrategy, spec_and_status};
use validation::Part;

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

impl KindStrategy for CertificateSigningRequest {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = &["metadata.name", "spec.signerName"];
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        columns::AGE,
        column("SignerName", "string", "Who is to sign."),
        column("Requestor", "string", "Who asks."),
        column("RequestedDuration", "string", "For how long the certificate is wanted."),
        column("Condition", "string", "How far the request has come."),
    ];
    const NAME: NameRule = any_name;

    spec_and_status!();

    fn default_fields(&mut self) {
        let spec = &mut self.spec;
        omit_empty!(spec; uid, username);
        let status = self.status.get_or_insert_default();
        if status.certificate.as_ref().is_some_and(|c| c.0.is_empty()) {
            status.certificate = None;
        }
    }

    fn on_update(&mut self, old: &Self) {
        self.spec.clone_from(&old.spec);
    }

    fn on_status_update(&mut self, old: &Self) {
        for type_ in [APPROVED, DENIED] {
            let before = conditions(old, type_).cloned().collect::<Vec<_>>();
            if conditions(self, type_).count() == before.len() {
                let all = self.status.iter_mut().flat_map(|s| s.conditions.iter_mut().flatten());
                all.filter(|c| c.type_ == type_).zip(before).for_each(|(new, old)| *new = old);
            }
        }
    }

    fn on_finalize(&mut self, old: &Self) {
        let conditions = self.status.take().and_then(|s| s.conditions);
        self.spec.clone_from(&old.spec);
        self.status.clone_from(&old.status);
        self.status.get_or_insert_default().conditions = conditions;
    }

    fn stamp(&mut self, old: Option<&Self>, now: Timestamp) {
        let before: Vec<_> = old.iter().flat_map(|o| all_conditions(o)).cloned().collect();
        for condition in self.status.iter_mut().flat_map(|s| s.conditions.iter_mut().flatten()) {
            condition.last_update_time.get_or_insert_with(|| time::time(now));
            let same = before
                .iter()
                .find(|c| c.type_ == condition.type_ && c.status == condition.status)
                .and_then(|c| c.last_transition_time.clone());
            let moment = &mut condition.last_transition_time;
            moment.get_or_insert_with(|| same.unwrap_or_else(|| time::time(now)));
        }
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        validation::validate_create(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_update(self, old, Part::Main, errors);
    }

    fn validate_status_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_update(self, old, Part::Status, errors);
    }

    fn validate_finalize_update(&self, old: &Self, errors: &mut ErrorList) {
        validation::validate_update(self, old, Part::Approval, errors);
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut all = fields::metadata(&self.metadata, Scope::Cluster);
        all.push(("spec.signerName", self.spec.signer_name.clone()));
        all
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let duration = self.spec.expiration_seconds;
        let duration = duration.map(|s| columns::human_duration(s.into()));
        vec![
            columns::name(&self.metadata),
            columns::age(&self.metadata, now),
            columns::or_none(Some(&self.spec.signer_name)),
            text(&self.spec.username).into(),
            columns::or_none(duration.as_deref()),
            condition(self).into(),
        ]
    }
}

/// Nothing is wrong with any name, but for what all names must be.
fn any_name(_name: &str, _usage: NameUse) -> Vec<String> {
    Vec::new()
}

fn all_conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().map(|s| list(&s.conditions)).unwrap_or_default()
}

fn conditions<'a>(
    request: &'a CertificateSigningRequest,
    type_: &'a str,
) -> impl Iterator<Item = &'a CertificateSigningRequestCondition> {
    all_conditions(request).iter().filter(move |c| c.type_ == type_)
}

fn condition(request: &CertificateSigningRequest) -> String {
    let is = |type_: &str| conditions(request, type_).next().is_some();
    let decided = match (is(DENIED), is(APPROVED)) {
        (true, _) => DENIED,
        (false, true) => APPROVED,
        (false, false) => "Pending",
    };
    let failed = if is(FAILED) { ",Failed" } else { "" };
    let issued = request.status.as_ref().is_some_and(|s| s.certificate.is_some());
    format!("{decided}{failed}{}", if issued { ",Issued" } else { "" })
}
