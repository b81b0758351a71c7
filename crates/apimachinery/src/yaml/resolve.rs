//! What a scalar without quotes means in YAML 1.1, as Kubernetes reads it.

use base64::Engine as _;
use serde_json::{Number, Value};

/// A plain scalar.
///
/// # Errors
/// If it is a number that JSON cannot hold.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" => return Err("json: unsupported value: NaN".to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Err("json: unsupported value: +Inf".to_owned());
        }
        "-.inf" | "-.Inf" | "-.INF" => return Err("json: unsupported value: -Inf".to_owned()),
        _ => {}
    }
    Ok(number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number))
}

/// A scalar with a tag of YAML's own, such as `!!str`.
///
/// # Errors
/// If the text does not fit the tag.
pub(super) fn tagged(text: &str, tag: &str) -> Result<Value, String> {
    let refused = || format!("cannot decode !!str `{text}` as a !!{tag}");
    let value = match tag {
        "binary" => {
            let clean: String = text.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(clean);
            let bytes =
                bytes.map_err(|_| "!!binary value contains invalid base64 data".to_owned())?;
            return String::from_utf8(bytes).map(Value::String).map_err(|_| refused());
        }
        "null" | "bool" | "int" | "float" => plain(text)?,
        _ => return Ok(Value::String(text.to_owned())),
    };
    let fits = match tag {
        "null" => value.is_null(),
        "bool" => value.is_boolean(),
        "int" => value.is_i64() || value.is_u64(),
        _ => value.is_number(),
    };
    if fits { Ok(value) } else { Err(refused()) }
}

/// An integer in any of YAML's bases, or a decimal fraction; underscores are ignored.
fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let text = text.replace('_', "");
    integer(&text).or_else(|| float(&text))
}

fn integer(text: &str) -> Option<Number> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (digits, radix) = radix(unsigned);
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    match negative {
        true => i64::try_from(-i128::from(magnitude)).ok().map(Number::from),
        false => Some(Number::from(magnitude)),
    }
}

/// The digits without the prefix that tells their base.
fn radix(text: &str) -> (&str, u32) {
    let prefixes = [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)];
    let prefixed =
        prefixes.into_iter().find_map(|(prefix, radix)| Some((text.strip_prefix(prefix)?, radix)));
    match text.strip_prefix('0') {
        _ if prefixed.is_some() => prefixed.unwrap_or((text, 10)),
        Some(octal) if !octal.is_empty() => (octal, 8),
        _ => (text, 10),
    }
}

/// A number with a point or an exponent; whole ones are written without a point, as Go does.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let has_digit = unsigned.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    let only = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !has_digit || unsigned.starts_with("..") || !unsigned.chars().all(only) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Beyond 2⁵³ a float has no exact neighbour, so it stays a float.
    match value.fract() == 0.0 && value.abs() < 9e15 {
        true => Some(Number::from(value as i64)),
        false => Number::from_f64(value),
    }
}
