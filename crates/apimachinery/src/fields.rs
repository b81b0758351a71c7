//! Field selectors such as `metadata.name=a,status.phase!=Running`; the counterpart of `k8s.io/apimachinery/pkg/fields`.
//!
//! Which fields may be selected is a fact of the kind, not of this module.

use std::fmt;

use crate::labels::SelectorError;

/// How a term relates a field to its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The field has the value.
    Equals,
    /// The field has another value.
    NotEquals,
}

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The field, such as `metadata.name`.
    pub field: String,
    /// How the field relates to the value.
    pub operator: Operator,
    /// The value, unescaped.
    pub value: String,
}

/// Conditions that must all hold; none matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

impl Selector {
    /// Matches everything.
    pub const fn everything() -> Self {
        Self { requirements: Vec::new() }
    }

    /// Matches objects of which one field has one value.
    pub fn equals(field: &str, value: &str) -> Self {
        let requirement = Requirement {
            field: field.to_owned(),
            operator: Operator::Equals,
            value: value.to_owned(),
        };
        Self { requirements: vec![requirement] }
    }

    /// Parses the text form; `,`, `=` and `\` in values are escaped with `\`.
    ///
    /// # Errors
    /// Kubernetes' message about the first term that cannot be understood.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let parsed =
            terms.into_iter().filter(|term| !term.is_empty()).map(|term| parse_term(text, term));
        Ok(Self { requirements: parsed.collect::<Result<_, _>>()? })
    }

    /// The conditions, sorted by their text.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// True if this selector matches everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// True if the fields, as `(name, value)` pairs, meet every condition; a field not among them is the empty string.
    pub fn matches<K: AsRef<str>, V: AsRef<str>>(&self, fields: &[(K, V)]) -> bool {
        self.matches_with(|name| {
            fields.iter().find(|(field, _)| field.as_ref() == name).map(|(_, value)| value.as_ref())
        })
    }

    /// True if fields, looked up by name, meet every condition; a field that is not there is the empty string.
    pub fn matches_with<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let equal = field(&requirement.field).unwrap_or_default() == requirement.value;
            equal == (requirement.operator == Operator::Equals)
        })
    }

    /// The same conditions on fields of other names.
    #[must_use]
    pub fn renamed(mut self, name: impl Fn(&str) -> String) -> Self {
        for requirement in &mut self.requirements {
            requirement.field = name(&requirement.field);
        }
        self
    }

    /// The one value that `field` must have, if the selector demands one.
    pub fn requires_exact_match(&self, field: &str) -> Option<&str> {
        let demands = |r: &&Requirement| r.field == field && r.operator == Operator::Equals;
        self.requirements.iter().find(demands).map(|requirement| requirement.value.as_str())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let operator = match requirement.operator {
                Operator::Equals => "=",
                Operator::NotEquals => "!=",
            };
            write!(
                f,
                "{comma}{}{operator}{}",
                requirement.field,
                escape_value(&requirement.value)
            )?;
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

/// A value with `\`, `,` and `=` escaped.
pub fn escape_value(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

/// Splits at commas that are not escaped; escapes stay in.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_term(selector: &str, term: &str) -> Result<Requirement, SelectorError> {
    let not_understood =
        || SelectorError(format!("invalid selector: '{selector}'; can't understand '{term}'"));
    let at = term.find("!=").into_iter().chain(term.find('=')).min().ok_or_else(not_understood)?;
    let (field, rest) = term.split_at(at);
    let (operator, value) = match (rest.strip_prefix("!="), rest.strip_prefix("==")) {
        (Some(value), _) => (Operator::NotEquals, value),
        (None, Some(value)) => (Operator::Equals, value),
        (None, None) => (Operator::Equals, &rest[1..]),
    };
    Ok(Requirement { field: field.to_owned(), operator, value: unescape_value(value)? })
}

fn unescape_value(text: &str) -> Result<String, SelectorError> {
    let invalid = |sequence: String| {
        SelectorError(format!("invalid field selector: invalid escape sequence: {sequence}"))
    };
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => value.push(c),
                Some(c) => return Err(invalid(format!("\\{c}"))),
                None => return Err(invalid("\\".to_owned())),
            },
            ',' | '=' => {
                let code = c as u32;
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {code}"
                )));
            }
            c => value.push(c),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selector_parsed_and_printed() {
        let table = [
            ("", ""),
            ("metadata.name=a", "metadata.name=a"),
            ("a==b,c!=d", "a=b,c!=d"),
            ("c=d,a=b,", "a=b,c=d"),
            (r"a=b\,c\=d\\", r"a=b\,c\=d\\"),
            ("a=", "a="),
        ];
        for (text, printed) in table {
            assert_eq!(Selector::parse(text).unwrap().to_string(), printed, "{text}");
        }
    }

    #[test]
    fn bad_selector_refused_in_kubernetes_words() {
        let table = [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
            (r"a=b\", r"invalid field selector: invalid escape sequence: \"),
        ];
        for (text, message) in table {
            assert_eq!(Selector::parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn fields_matched() {
        let fields = [("metadata.name", "a"), ("status.phase", "Running")];
        let table = [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name=b", false),
            ("status.phase!=Running", false),
            ("metadata.name=a,status.phase=Running", true),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
        ];
        for (text, want) in table {
            assert_eq!(Selector::parse(text).unwrap().matches(&fields), want, "{text}");
        }
        assert_eq!(Selector::parse("a=b").unwrap().requires_exact_match("a"), Some("b"));
        assert_eq!(Selector::parse("a!=b").unwrap().requires_exact_match("a"), None);
    }
}
