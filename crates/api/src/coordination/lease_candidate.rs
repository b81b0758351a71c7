//! LeaseCandidate: who would hold a Lease, and which versions it speaks, for coordinated leader election.
//!
//! Counterpart in Kubernetes: `pkg/registry/coordination/leasecandidate`.

use apimachinery::field::{ErrorList, Path};
use apimachinery::meta::NameRule;
use apimachinery::names;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1beta1::{LeaseCandidate, LeaseCandidateSpec};
use serde_json::Value;

use super::lease;
use crate::columns::{self, column};
use crate::kinds::Column;
use crate::report::{Report, text};
use crate::strategy::KindStrategy;

const OLDEST_EMULATION_VERSION: &str = "OldestEmulationVersion";

impl KindStrategy for LeaseCandidate {
    const COLUMNS: &'static [Column] = &[
        columns::NAME,
        column("LeaseName", "string", "Lease that is contended for."),
        column("BinaryVersion", "string", "Version of the candidate."),
        column("EmulationVersion", "string", "Version that the candidate behaves as."),
        columns::AGE,
    ];
    const ALLOW_CREATE_ON_UPDATE: bool = true;
    const ALLOW_UNCONDITIONAL_UPDATE: bool = false;
    const NAME: NameRule = |name, _| names::is_config_map_key(name);

    fn validate(&self, errors: &mut ErrorList) {
        validate_spec(&self.spec, &Path::new("spec"), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut ErrorList) {
        let at = Path::new("spec").child("leaseName");
        errors.unchanged(&at, &self.spec.lease_name, &old.spec.lease_name);
    }

    fn row(&self, now: Timestamp) -> Vec<Value> {
        vec![
            columns::name(&self.metadata),
            self.spec.lease_name.clone().into(),
            self.spec.binary_version.clone().into(),
            text(&self.spec.emulation_version).into(),
            columns::age(&self.metadata, now),
        ]
    }
}

fn validate_spec(spec: &LeaseCandidateSpec, at: &Path, errors: &mut ErrorList) {
    errors.non_empty(&at.child("leaseName"), &spec.lease_name);
    let emulated = text(&spec.emulation_version);
    let emulation = semantic_version(emulated);
    if !emulated.is_empty() && emulation.is_none() {
        let at = at.child("emulationVersion");
        errors.invalid(&at, emulated, "must be a valid semantic version");
    }
    let at_binary = at.child("binaryVersion");
    let binary = semantic_version(&spec.binary_version);
    if spec.binary_version.is_empty() {
        errors.required(&at_binary, "");
    } else if binary.is_none() {
        errors.invalid(&at_binary, &spec.binary_version, "must be a valid semantic version");
    }
    let (emulation, binary) = (emulation.unwrap_or_default(), binary.unwrap_or_default());
    if !spec.binary_version.is_empty() && !emulated.is_empty() && binary < emulation {
        let detail = "must be greater than or equal to `emulationVersion`";
        errors.invalid(&at_binary, &spec.binary_version, detail);
    }
    let at_strategy = at.child("strategy");
    if spec.strategy.is_empty() {
        errors.required(&at_strategy, "");
        return;
    }
    if spec.strategy == OLDEST_EMULATION_VERSION && emulation == SemanticVersion::default() {
        let detail = "must be specified when `strategy` is 'OldestEmulationVersion'";
        errors.required(&at.child("emulationVersion"), detail);
    }
    lease::validate_strategy(&spec.strategy, &at_strategy, errors);
}

/// Major, minor and patch, and the parts of the pre-release, which make a version older; one without is the newest.
type SemanticVersion = ([u64; 3], NewestFirst);

/// The order of pre-releases: none is newer than any, and a longer one newer than its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NewestFirst(Vec<Part>);

/// A part of a pre-release; numbers are older than words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl PartialOrd for NewestFirst {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        let released = self.0.is_empty().cmp(&other.0.is_empty());
        Some(released.then_with(|| self.0.cmp(&other.0)))
    }
}

/// A semantic version, `1.36.0-alpha.1+build`; `None` for what is none.
fn semantic_version(text: &str) -> Option<SemanticVersion> {
    let (version, build) = text.split_once('+').map_or((text, None), |(v, b)| (v, Some(b)));
    let (numbers, release) = version.split_once('-').map_or((version, None), |(v, r)| (v, Some(r)));
    let numbers: Vec<u64> = numbers.split('.').map(number).collect::<Option<_>>()?;
    let parts: Option<Vec<Part>> =
        release.map_or(Some(Vec::new()), |release| release.split('.').map(part).collect());
    let known = build.is_none_or(|build| build.split('.').all(is_word));
    known.then_some((numbers.try_into().ok()?, NewestFirst(parts?)))
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

fn part(text: &str) -> Option<Part> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return number(text).map(Part::Number);
    }
    is_word(text).then(|| Part::Word(text.to_owned()))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
