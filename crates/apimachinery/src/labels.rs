//! Label selectors: the text form of `?labelSelector=`, the object form `LabelSelector`, and matching; the counterpart of
//! `k8s.io/apimachinery/pkg/labels` and of the selector helpers in `apis/meta/v1`.
//!
//! Invariants: requirements are kept sorted by key, so that equal selectors print equally. There is one matcher.

mod parser;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};

use crate::field::{self, ErrorList, Path, quote};
use crate::{meta, names};

/// A set of labels.
pub type Labels = BTreeMap<String, String>;

/// How a requirement relates a key to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The value is the given one, written `=`.
    Equals,
    /// The value is the given one, written `==`.
    DoubleEquals,
    /// The value is not the given one, or the key is absent.
    NotEquals,
    /// The value is one of the given ones.
    In,
    /// The value is none of the given ones, or the key is absent.
    NotIn,
    /// The key is present.
    Exists,
    /// The key is absent.
    DoesNotExist,
    /// The value is an integer greater than the given one.
    GreaterThan,
    /// The value is an integer less than the given one.
    LessThan,
}

/// One condition on one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// Why a selector was refused; the message is Kubernetes'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

impl Requirement {
    /// A condition, after checking it.
    ///
    /// # Errors
    /// Every rule broken by the key, the number of values or the values; paths are below `path`.
    pub fn new(
        key: &str,
        operator: Operator,
        values: Vec<String>,
        path: &Path,
    ) -> Result<Self, SelectorError> {
        let mut errors = ErrorList::new();
        errors.extend(validate_key(key, &path.child("key")));
        let values_path = path.child("values");
        errors.extend(validate_count(operator, &values, &values_path));
        errors.extend(validate_values(key, &values, &values_path));
        match errors.is_empty() {
            true => Ok(Self { key: key.to_owned(), operator, values }),
            false => Err(SelectorError(field::aggregate(&errors))),
        }
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The operator.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values; empty for existence.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// True if the labels meet this condition.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.key).map(String::as_str))
    }

    /// True if a label with this value, or without one, meets this condition.
    fn matches_value(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|wanted| wanted == value);
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => value.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => {
                self.compare(value).is_some_and(|(label, bound)| label > bound)
            }
            Operator::LessThan => self.compare(value).is_some_and(|(label, bound)| label < bound),
        }
    }

    /// The label's number and the bound, if both are integers.
    fn compare(&self, value: Option<&str>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

fn validate_key(key: &str, path: &Path) -> Option<field::Error> {
    let errors = names::is_qualified_name(key);
    (!errors.is_empty()).then(|| field::invalid(path, key, errors.join("; ")))
}

fn validate_values(key: &str, values: &[String], path: &Path) -> ErrorList {
    let check = |(index, value): (usize, &String)| {
        let errors = names::is_label_value(value);
        (!errors.is_empty())
            .then(|| field::invalid(&path.index(index).key(key), value, errors.join("; ")))
    };
    values.iter().enumerate().filter_map(check).collect()
}

fn validate_count(operator: Operator, values: &[String], path: &Path) -> ErrorList {
    let refuse = |detail: &str| vec![field::invalid(path, values, detail)];
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            refuse("for 'in', 'notin' operators, values set can't be empty")
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
            refuse("exact-match compatibility requires one single value")
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            refuse("values set must be empty for exists and does not exist")
        }
        Operator::GreaterThan | Operator::LessThan => validate_bound(values, path),
        _ => vec![],
    }
}

fn validate_bound(values: &[String], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if values.len() != 1 {
        errors.push(field::invalid(
            path,
            values,
            "for 'Gt', 'Lt' operators, exactly one value is required",
        ));
    }
    let not_integers = values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err());
    errors.extend(not_integers.map(|(index, value)| {
        field::invalid(
            &path.index(index),
            value,
            "for 'Gt', 'Lt' operators, the value must be an integer",
        )
    }));
    errors
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let mut values = self.values.clone();
        values.sort();
        let values = values.join(",");
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl Selector {
    /// Matches all labels.
    pub const fn everything() -> Self {
        Self { requirements: Vec::new(), nothing: false }
    }

    /// Matches no labels.
    pub const fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Matches what meets every requirement.
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// Matches what carries at least these labels; empty matches everything. Nothing is validated.
    pub fn from_set(labels: &Labels) -> Self {
        let requirement = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.clone()],
        };
        Self::new(labels.iter().map(requirement).collect())
    }

    /// Parses the text form, such as `app=web,tier in (a,b),!canary`; empty text matches everything.
    ///
    /// # Errors
    /// Kubernetes' message about the first part that cannot be understood.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parser::parse(text).map(Self::new)
    }

    /// Converts the object form: none matches nothing, empty matches everything.
    ///
    /// # Errors
    /// If an operator, key or value is not valid.
    pub fn from_label_selector(selector: Option<&LabelSelector>) -> Result<Self, SelectorError> {
        let Some(selector) = selector else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::new(
                key,
                Operator::Equals,
                vec![value.clone()],
                &Path::nil(),
            )?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = expression_operator(&expression.operator)
                .ok_or_else(|| SelectorError(not_an_operator(&expression.operator)))?;
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(Requirement::new(&expression.key, operator, values, &Path::nil())?);
        }
        Ok(Self::new(requirements))
    }

    /// The conditions, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// True if this selector matches all labels.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// True if this selector was made to match no labels.
    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// True if the labels meet every condition.
    pub fn matches(&self, labels: &Labels) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// True if labels, looked up by key, meet every condition: for labels that lie in some other form than a map.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let meets = |requirement: &Requirement| requirement.matches_value(label(&requirement.key));
        !self.nothing && self.requirements.iter().all(meets)
    }

    /// True if an object's labels meet every condition.
    pub fn matches_meta(&self, meta: &ObjectMeta) -> bool {
        static NONE: Labels = Labels::new();
        self.matches(meta.labels.as_ref().unwrap_or(&NONE))
    }

    /// The one value that `key` must have, if the selector demands one.
    pub fn requires_exact_match(&self, key: &str) -> Option<&str> {
        let requirement = self.requirements.iter().find(|requirement| requirement.key == key)?;
        let exact = matches!(
            requirement.operator,
            Operator::Equals | Operator::DoubleEquals | Operator::In
        );
        match requirement.values.as_slice() {
            [value] if exact => Some(value),
            _ => None,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

fn expression_operator(text: &str) -> Option<Operator> {
    match text {
        "In" => Some(Operator::In),
        "NotIn" => Some(Operator::NotIn),
        "Exists" => Some(Operator::Exists),
        "DoesNotExist" => Some(Operator::DoesNotExist),
        _ => None,
    }
}

fn not_an_operator(text: &str) -> String {
    format!("{} is not a valid label selector operator", quote(text))
}

/// Validates the object form of a selector.
pub fn validate_label_selector(selector: &LabelSelector, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(labels) = &selector.match_labels {
        errors.extend(meta::validate_labels(labels, &path.child("matchLabels")));
    }
    let expressions = path.child("matchExpressions");
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        errors.extend(validate_expression(expression, &expressions.index(index)));
    }
    errors
}

fn validate_expression(expression: &LabelSelectorRequirement, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let values = expression.values.as_deref().unwrap_or_default();
    let values_path = path.child("values");
    match expression_operator(&expression.operator) {
        Some(Operator::In | Operator::NotIn) if values.is_empty() => {
            errors.push(field::required(
                &values_path,
                "must be specified when `operator` is 'In' or 'NotIn'",
            ));
        }
        Some(Operator::Exists | Operator::DoesNotExist) if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(field::forbidden(&values_path, detail));
        }
        Some(_) => {}
        None => {
            let detail = "not a valid selector operator";
            errors.push(field::invalid(&path.child("operator"), &expression.operator, detail));
        }
    }
    errors.extend(meta::validate_label_name(&expression.key, &path.child("key")));
    for (index, value) in values.iter().enumerate() {
        let messages = names::is_label_value(value).into_iter();
        errors.extend(
            messages.map(|message| field::invalid(&values_path.index(index), value, message)),
        );
    }
    errors
}

/// The object form as printers show it; `<none>` if there is nothing to show.
pub fn format_label_selector(selector: Option<&LabelSelector>) -> String {
    match Selector::from_label_selector(selector) {
        Err(_) => "<error>".to_owned(),
        Ok(selector) if selector.requirements.is_empty() => "<none>".to_owned(),
        Ok(selector) => selector.to_string(),
    }
}

/// The values of a parsed list, as a set.
type Values = BTreeSet<String>;

#[cfg(test)]
mod tests;
