//! What names, label keys and label values may look like; the counterpart of `k8s.io/apimachinery/pkg/util/validation`.
//!
//! Every check returns Kubernetes' messages, one per broken rule, and nothing when the value is fine.

/// The greatest length of a DNS label (RFC 1123, RFC 1035).
pub const LABEL_MAX_LENGTH: usize = 63;

/// The greatest length of a DNS subdomain (RFC 1123).
pub const SUBDOMAIN_MAX_LENGTH: usize = 253;

/// The greatest length of a label's value, and of the name part of its key.
pub const LABEL_VALUE_MAX_LENGTH: usize = 63;

/// The greatest length of a port's name (RFC 6335).
const PORT_NAME_MAX_LENGTH: usize = 15;

const DNS1123_LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS1123_SUBDOMAIN_FMT: &str =
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1035_LABEL_FMT: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED_NAME_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE_FMT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// The message for a value that matches no `pattern`, with examples that do.
pub fn regex_error(message: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{pattern}')");
    }
    let mut text = format!("{message} (e.g. ");
    for (index, example) in examples.iter().enumerate() {
        text += if index > 0 { " or " } else { "" };
        text += &format!("'{example}', ");
    }
    text + &format!("regex used for validation is '{pattern}')")
}

/// The message for a value longer than `max`.
pub fn max_length_error(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// The message for a label's key or value longer than `max` bytes.
fn max_bytes_error(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// The message for a number outside `low..=high`.
pub fn range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// True if `value` starts and ends with `edge` characters and has only `inner` ones between.
fn shaped(value: &str, first: fn(u8) -> bool, inner: fn(u8) -> bool, last: fn(u8) -> bool) -> bool {
    match value.as_bytes() {
        [] => false,
        [only] => first(*only),
        [begin, middle @ .., end] => {
            first(*begin) && last(*end) && middle.iter().all(|byte| inner(*byte))
        }
    }
}

fn matches_label(value: &str) -> bool {
    shaped(
        value,
        is_lower_alphanumeric,
        |b| is_lower_alphanumeric(b) || b == b'-',
        is_lower_alphanumeric,
    )
}

fn matches_subdomain(value: &str) -> bool {
    value.split('.').all(matches_label)
}

fn matches_qualified(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    shaped(value, |b| b.is_ascii_alphanumeric(), inner, |b| b.is_ascii_alphanumeric())
}

/// A DNS label of RFC 1123, such as the name of a namespace.
pub fn is_dns1123_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_MAX_LENGTH {
        errors.push(max_length_error(LABEL_MAX_LENGTH));
    }
    if matches_label(value) {
        return errors;
    }
    errors.push(match matches_subdomain(value) {
        true => "must not contain dots".to_owned(),
        false => regex_error(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
            DNS1123_LABEL_FMT,
            &["my-name", "123-abc"],
        ),
    });
    errors
}

/// A DNS subdomain of RFC 1123, such as the name of most objects.
pub fn is_dns1123_subdomain(value: &str) -> Vec<String> {
    subdomain(value, max_length_error(SUBDOMAIN_MAX_LENGTH))
}

fn subdomain(value: &str, too_long: String) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_MAX_LENGTH {
        errors.push(too_long);
    }
    if !matches_subdomain(value) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            DNS1123_SUBDOMAIN_FMT,
            &["example.com"],
        ));
    }
    errors
}

/// A subdomain that begins with the wildcard label `*.`.
pub fn is_wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_MAX_LENGTH {
        errors.push(max_length_error(SUBDOMAIN_MAX_LENGTH));
    }
    if !value.strip_prefix("*.").is_some_and(matches_subdomain) {
        errors.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!(r"\*\.{DNS1123_SUBDOMAIN_FMT}"),
            &["*.example.com"],
        ));
    }
    errors
}

/// A DNS label of RFC 1035, such as the name of a Service.
pub fn is_dns1035_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_MAX_LENGTH {
        errors.push(max_length_error(LABEL_MAX_LENGTH));
    }
    let inner = |b: u8| is_lower_alphanumeric(b) || b == b'-';
    if !shaped(value, |b| b.is_ascii_lowercase(), inner, is_lower_alphanumeric) {
        errors.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            DNS1035_LABEL_FMT,
            &["my-name", "abc-123"],
        ));
    }
    errors
}

/// A label key, annotation key or finalizer: a name with an optional DNS prefix, such as `example.com/name`.
pub fn is_qualified_name(value: &str) -> Vec<String> {
    let parts: Vec<&str> = value.split('/').collect();
    match parts.as_slice() {
        [name] => name_part(name),
        [prefix, name] => {
            let mut errors = prefix_part(prefix);
            errors.extend(name_part(name));
            errors
        }
        _ => vec![format!(
            "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            qualified_error()
        )],
    }
}

fn qualified_error() -> String {
    regex_error(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        QUALIFIED_NAME_FMT,
        &["MyName", "my.name", "123-abc"],
    )
}

fn prefix_part(prefix: &str) -> Vec<String> {
    if prefix.is_empty() {
        return vec!["prefix part must be non-empty".to_owned()];
    }
    let errors = subdomain(prefix, max_bytes_error(SUBDOMAIN_MAX_LENGTH));
    errors.into_iter().map(|error| format!("prefix part {error}")).collect()
}

fn name_part(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_VALUE_MAX_LENGTH {
        errors.push(format!("name part {}", max_bytes_error(LABEL_VALUE_MAX_LENGTH)));
    }
    if !matches_qualified(name) {
        errors.push(format!("name part {}", qualified_error()));
    }
    errors
}

/// A label's value; empty is fine.
pub fn is_label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_VALUE_MAX_LENGTH {
        errors.push(max_bytes_error(LABEL_VALUE_MAX_LENGTH));
    }
    if !value.is_empty() && !matches_qualified(value) {
        errors.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            LABEL_VALUE_FMT,
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A port number, 1 to 65535.
pub fn is_valid_port_number(port: i64) -> Vec<String> {
    is_in_range(port, 1, 65535)
}

/// A number within `low..=high`.
pub fn is_in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    match (low..=high).contains(&value) {
        true => Vec::new(),
        false => vec![range_error(low, high)],
    }
}

/// A user or group id, 0 to 2³¹-1.
pub fn is_valid_user_or_group_id(id: i64) -> Vec<String> {
    is_in_range(id, 0, i64::from(i32::MAX))
}

/// A port's name (IANA_SVC_NAME of RFC 6335, lower case).
pub fn is_valid_port_name(port: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if port.len() > PORT_NAME_MAX_LENGTH {
        errors.push(max_length_error(PORT_NAME_MAX_LENGTH));
    }
    if port.is_empty() || !port.bytes().all(|b| is_lower_alphanumeric(b) || b == b'-') {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !port.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if port.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if port.starts_with('-') || port.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// A percentage such as `25%`.
pub fn is_valid_percent(percent: &str) -> Vec<String> {
    let digits = percent.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    let message = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![regex_error(message, "[0-9]+%", &["1%", "93%"])]
}

/// The name of an HTTP header.
pub fn is_http_header_name(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex_error(message, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// The name of an environment variable, by the rule of Kubernetes 1.34 and later: printable ASCII except `=`.
pub fn is_env_var_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    match value.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
        true => Vec::new(),
        false => vec![
            "a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned(),
        ],
    }
}

/// A key of a ConfigMap or Secret.
pub fn is_config_map_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_MAX_LENGTH {
        errors.push(max_length_error(SUBDOMAIN_MAX_LENGTH));
    }
    if value.is_empty()
        || !value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    {
        errors.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    errors.extend(directory_change(value));
    errors
}

/// Names that a file system would take for another directory.
fn directory_change(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if value.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// A name that can stand in a URL path.
pub fn is_path_segment_name(value: &str) -> Vec<String> {
    if let "." | ".." = value {
        return vec![format!("may not be '{value}'")];
    }
    let bad = ['/', '%'].into_iter().filter(|c| value.contains(*c));
    bad.map(|c| format!("may not contain '{c}'")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(count: usize) -> String {
        "a".repeat(count)
    }

    #[test]
    fn good_names_accepted() {
        for name in ["a", "a-b", "0", "a0", &long(63)] {
            assert_eq!(is_dns1123_label(name), Vec::<String>::new(), "{name}");
            assert_eq!(is_dns1123_subdomain(name), Vec::<String>::new(), "{name}");
        }
        for name in ["a.b", "a-b.c-d.0", &long(253)] {
            assert!(is_dns1123_subdomain(name).is_empty(), "{name}");
        }
        for key in ["a", "A_b.c", "example.com/a", &format!("{}/a", long(253))] {
            assert!(is_qualified_name(key).is_empty(), "{key}");
        }
        for value in ["", "a", "A_b.c-9"] {
            assert!(is_label_value(value).is_empty(), "{value}");
        }
    }

    #[test]
    fn bad_names_refused_in_kubernetes_words() {
        assert_eq!(
            is_dns1123_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(is_dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(is_dns1123_label(&long(64)), ["must be no more than 63 characters"]);
        assert_eq!(
            is_dns1123_subdomain("a..b"),
            [
                r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(is_qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(is_qualified_name("").len(), 2);
        assert!(is_qualified_name("a/b/c")[0].starts_with("a valid label key must consist"));
        assert_eq!(
            is_label_value("-"),
            [
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ]
        );
        assert_eq!(is_label_value(&long(64)), ["must be no more than 63 bytes"]);
        for bad in ["-a", "a-", "0a-"] {
            assert!(!is_dns1035_label(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn other_forms_checked() {
        assert!(is_valid_port_name("http-1").is_empty());
        assert_eq!(is_valid_port_name("1").len(), 1);
        assert_eq!(is_valid_port_name("a--b-").len(), 2);
        assert_eq!(is_valid_port_number(0), ["must be between 1 and 65535, inclusive"]);
        assert!(is_config_map_key("a.b_c-D").is_empty());
        assert_eq!(is_config_map_key(".."), ["must not be '..'"]);
        assert!(is_valid_percent("10%").is_empty());
        assert_eq!(is_valid_percent("10").len(), 1);
        assert!(is_env_var_name("1 x").is_empty());
        assert_eq!(is_env_var_name("a=b").len(), 1);
        assert_eq!(is_path_segment_name("a/b%"), ["may not contain '/'", "may not contain '%'"]);
        assert_eq!(is_path_segment_name(".."), ["may not be '..'"]);
        assert!(is_wildcard_dns1123_subdomain("*.a.b").is_empty());
        assert!(!is_wildcard_dns1123_subdomain("a.b").is_empty());
    }
}
