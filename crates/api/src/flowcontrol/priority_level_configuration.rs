//! PriorityLevelConfiguration: how many requests of a level run at once, and what becomes of the others.
//!
//! Counterpart in Kubernetes: `pkg/registry/flowcontrol/prioritylevelconfiguration`.

use apimachinery::field::{ErrorList, Path};
use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{
    LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec, QueuingConfiguration,
};
use serde_json::{Value, json};

use super::flow_schema::validate_types;
use crate::columns::{self, column};
use crate::fields;
use crate::kinds::{Column, Scope};
use crate::report::{Report, list, text};
use crate::strategy::{KindStrategy, keep_metadata, spec_and_status};

const EXEMPT_NAME: &str = "exempt";
const EXEMPT: &str = "Exempt";
const LIMITED: &str = "Limited";
const QUEUE: &str = "Queue";
const REJECT: &str = "Reject";
const PRESERVE_ZERO: &str = "flowcontrol.k8s.io/preserve-zero-concurrency-shares";
const DEFAULT_SHARES: i32 = 30;
const DEFAULT_HAND_SIZE: i32 = 8;
const DEFAULT_QUEUES: i32 = 64;
const DEFAULT_QUEUE_LENGTH: i32 = 50;
const MAX_QUEUES: i32 = 10_000_000;
/// Bits of the hash that deals requests to queues.
const MAX_HASH_BITS: f64 = 60.0;

impl KindStrategy for PriorityLevelConfiguration {
    const SCOPE: Scope = Scope::Cluster;
    const SELECTABLE: &'static [&'static str] = fields::CLUSTER_METADATA;
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("Type", "string", "Whether requests of the level are limited."),
        column("NominalConcurrencyShares", "string", "Share of the requests that run at once."),
        column("Queues", "string", "Number of queues."),
        column("HandSize", "string", "Queues a flow may use."),
        column("QueueLengthLimit", "string", "Requests that wait in a queue at most."),
        columns::AGE,
    ];
    const GENERATION: bool = true;

    spec_and_status!();

    fn default_fields(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if let Some(exempt) = &mut spec.exempt {
            exempt.nominal_concurrency_shares.get_or_insert(0);
            exempt.lendable_percent.get_or_insert(0);
        }
        if let Some(limited) = &mut spec.limited {
            limited.nominal_concurrency_shares.get_or_insert(DEFAULT_SHARES);
            limited.lendable_percent.get_or_insert(0);
            let response = limited.limit_response.get_or_insert_default();
            response.queuing.iter_mut().for_each(default_queuing);
        }
        self.status.get_or_insert_default();
    }

    fn on_status_update(&mut self, old: &Self) {
        keep_metadata(&mut self.metadata, &old.metadata);
    }

    fn validate(&self, errors: &mut ErrorList) {
        let annotations = self.metadata.annotations.as_ref();
        if annotations.is_some_and(|a| a.contains_key(PRESERVE_ZERO)) {
            let at = Path::new("metadata").child("annotations");
            errors.forbidden(&at, format!("annotation '{PRESERVE_ZERO}' is forbidden"));
        }
        let spec = self.spec.clone().unwrap_or_default();
        let (name, at) = (text(&self.metadata.name), Path::new("spec"));
        validate_spec(name, &spec, &at, errors);
        validate_mandatory(name, &spec, &at, errors);
    }

    fn validate_status_update(&self, _old: &Self, errors: &mut ErrorList) {
        let conditions = self.status.as_ref().map(|s| list(&s.conditions)).unwrap_or_default();
        validate_types(conditions.iter().map(|c| text(&c.type_)), errors);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.clone().unwrap_or_default();
        let limited = spec.limited.as_ref();
        let queuing = limited.and_then(|l| l.limit_response.as_ref()?.queuing.as_ref());
        let shown = |number: Option<i32>| number.map_or_else(|| "<none>".into(), Value::from);
        vec![
            columns::name(&self.metadata),
            spec.type_.clone().into(),
            shown(limited.and_then(|l| l.nominal_concurrency_shares)),
            shown(queuing.and_then(|q| q.queues)),
            shown(queuing.and_then(|q| q.hand_size)),
            shown(queuing.and_then(|q| q.queue_length_limit)),
            columns::age(&self.metadata, now),
        ]
    }
}

fn default_queuing(queuing: &mut QueuingConfiguration) {
    let fill = |field: &mut Option<i32>, value| {
        if field.is_none_or(|number| number == 0) {
            *field = Some(value);
        }
    };
    fill(&mut queuing.hand_size, DEFAULT_HAND_SIZE);
    fill(&mut queuing.queues, DEFAULT_QUEUES);
    fill(&mut queuing.queue_length_limit, DEFAULT_QUEUE_LENGTH);
}

fn validate_spec(
    name: &str,
    spec: &PriorityLevelConfigurationSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    let type_ = spec.type_.as_str();
    if (name == EXEMPT_NAME) != (type_ == EXEMPT) {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.invalid(&at.child("type"), type_, detail);
    }
    let (at_limited, at_exempt) = (at.child("limited"), at.child("exempt"));
    match type_ {
        EXEMPT => {
            if spec.limited.is_some() {
                errors.forbidden(&at_limited, "must be nil if the type is not Limited");
            }
            if let Some(exempt) = &spec.exempt {
                validate_shares(exempt.nominal_concurrency_shares, &at_exempt, errors);
                validate_percent(exempt.lendable_percent, &at_exempt, errors);
            }
        }
        LIMITED => {
            if spec.exempt.is_some() {
                errors.forbidden(&at_exempt, "must be nil if the type is Limited");
            }
            match &spec.limited {
                None => errors.required(&at_limited, "must not be empty when type is Limited"),
                Some(limited) => validate_limited(limited, &at_limited, errors),
            }
        }
        other => errors.not_supported(&at.child("type"), other, &[EXEMPT, LIMITED]),
    }
}

fn validate_shares(shares: Option<i32>, at: &Path, errors: &mut ErrorList) {
    if let Some(shares) = shares.filter(|shares| *shares < 0) {
        let at = at.child("nominalConcurrencyShares");
        errors.invalid(&at, shares, "must be a non-negative integer");
    }
}

fn validate_percent(percent: Option<i32>, at: &Path, errors: &mut ErrorList) {
    if let Some(percent) = percent.filter(|percent| !(0..=100).contains(percent)) {
        let at = at.child("lendablePercent");
        errors.invalid(&at, percent, "must be between 0 and 100, inclusive");
    }
}

fn validate_limited(
    limited: &LimitedPriorityLevelConfiguration,
    at: &Path,
    errors: &mut ErrorList,
) {
    validate_shares(limited.nominal_concurrency_shares, at, errors);
    let response = limited.limit_response.clone().unwrap_or_default();
    validate_response(&response, &at.child("limitResponse"), errors);
    validate_percent(limited.lendable_percent, at, errors);
    if let Some(percent) = limited.borrowing_limit_percent.filter(|percent| *percent < 0) {
        let at = at.child("borrowingLimitPercent");
        errors.invalid(&at, percent, "if specified, must be a non-negative integer");
    }
}

fn validate_response(response: &LimitResponse, at: &Path, errors: &mut ErrorList) {
    let at_queuing = at.child("queuing");
    match (response.type_.as_str(), &response.queuing) {
        (REJECT, Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.forbidden(&at_queuing, detail);
        }
        (REJECT, None) => {}
        (QUEUE, None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.required(&at_queuing, detail);
        }
        (QUEUE, Some(queuing)) => validate_queuing(queuing, &at_queuing, errors),
        (other, _) => errors.not_supported(&at.child("type"), other, &[QUEUE, REJECT]),
    }
}

fn validate_queuing(queuing: &QueuingConfiguration, at: &Path, errors: &mut ErrorList) {
    const POSITIVE: &str = "must be positive";
    let queues = queuing.queues.unwrap_or_default();
    let (hand, length) =
        (queuing.hand_size.unwrap_or_default(), queuing.queue_length_limit.unwrap_or_default());
    if length <= 0 {
        errors.invalid(&at.child("queueLengthLimit"), length, POSITIVE);
    }
    if queues <= 0 {
        errors.invalid(&at.child("queues"), queues, POSITIVE);
    } else if queues > MAX_QUEUES {
        let detail = format!("must not be greater than {MAX_QUEUES}");
        errors.invalid(&at.child("queues"), queues, detail);
    }
    let at_hand = at.child("handSize");
    if hand <= 0 {
        errors.invalid(&at_hand, hand, POSITIVE);
    } else if hand > queues {
        let detail = format!("should not be greater than queues ({queues})");
        errors.invalid(&at_hand, hand, detail);
    } else if (f64::from(queues).log2() * f64::from(hand)).ceil() > MAX_HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        );
        errors.invalid(&at_hand, hand, detail);
    }
}

/// Two levels are in every cluster, in this form.
fn validate_mandatory(
    name: &str,
    spec: &PriorityLevelConfigurationSpec,
    at: &Path,
    errors: &mut ErrorList,
) {
    let limited = json!({"type": LIMITED, "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": REJECT}}});
    let (is, wanted, but) = match name {
        EXEMPT_NAME => {
            let rest = PriorityLevelConfigurationSpec { exempt: None, ..spec.clone() };
            (json!(rest), json!({"type": EXEMPT}), " except the 'spec.exempt' field")
        }
        "catch-all" => (json!(spec), limited, ""),
        _ => return,
    };
    if is != wanted {
        errors.invalid(at, spec, format!("spec of '{name}'{but} must equal the fixed value"));
    }
}
