//! ServiceCIDR: ranges from which services get their addresses.
//!
//! Counterpart in Kubernetes: `pkg/registry/networking/servicecidr`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{ServiceCIDR, ServiceCIDRSpec};
use serde_json::Value;

use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::net;
use crate::report::{Report, list};
use crate::strategy::{KindStrategy, keep_metadata, spec_and_status};

impl KindStrategy for ServiceCIDR {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] =
        &[columns::NAME, column("CIDRs", "string", "Ranges in CIDR form."), columns::AGE];

    spec_and_status!();

    fn default_fields(&mut self) {
        self.spec.get_or_insert_default();
        self.status.get_or_insert_default();
    }

    fn on_status_update(&mut self, old: &Self) {
        keep_metadata(&mut self.metadata, &old.metadata);
    }

    fn validate_create(&self, errors: &mut ErrorList) {
        validate_ranges(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let (new, was) = (ranges(self), ranges(old));
        let at = Path::new("spec").child("cidrs");
        let changed = |(i, (new, old)): (usize, (&String, &String)), errors: &mut ErrorList| {
            errors.unchanged(&at.index(i), new, old);
        };
        match (was.len(), new.len()) {
            (before, after) if before == after => {
                new.iter().zip(was).enumerate().for_each(|pair| changed(pair, errors));
            }
            (1, 2) => {
                changed((0, (&new[0], &was[0])), errors);
                validate_ranges(self, errors);
            }
            _ => errors.invalid(&at, new, meta::FIELD_IMMUTABLE),
        }
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        vec![
            columns::name(&self.metadata),
            ranges(self).join(",").into(),
            columns::age(&self.metadata, now),
        ]
    }
}

fn ranges(range: &ServiceCIDR) -> &[String] {
    range.spec.as_ref().map(|s| list(&s.cidrs)).unwrap_or_default()
}

fn validate_ranges(range: &ServiceCIDR, errors: &mut ErrorList) {
    let (ranges, at) = (ranges(range), Path::new("spec").child("cidrs"));
    if ranges.is_empty() {
        return errors.required(&at, "at least one CIDR required");
    }
    if ranges.len() > 2 {
        let spec: Option<&ServiceCIDRSpec> = range.spec.as_ref();
        return errors.invalid(&at, spec, "may only hold up to 2 values");
    }
    let known = errors.len();
    for (i, range) in ranges.iter().enumerate() {
        net::validate_canonical_cidr(range, &at.index(i), errors);
    }
    let all_known = errors.len() == known || ranges.iter().all(|r| net::is_cidr(r));
    if ranges.len() == 2 && all_known && !net::is_dual_stack(ranges.iter().map(String::as_str)) {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.invalid(&at, ranges, detail);
    }
}
