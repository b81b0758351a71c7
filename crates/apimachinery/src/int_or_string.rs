//! Values that are a number or a string such as a percentage or a port name; the counterpart of
//! `k8s.io/apimachinery/pkg/util/intstr`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::field::quote;

/// Which way a percentage of a total is rounded to a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Towards the next greater number.
    Up,
    /// Towards the next smaller number.
    Down,
}

/// Why a value has no scaled value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntOrStringError {
    /// A string without a trailing `%`.
    #[error("invalid value for IntOrString: invalid type: string is not a percentage")]
    NotAPercentage,
    /// A string with `%` but without a number before it.
    #[error("invalid value for IntOrString: invalid value {}: strconv.Atoi: parsing {}: invalid syntax", quote(.0), quote(.0.trim_end_matches('%')))]
    NotANumber(String),
}

/// A number, or the percentage of `total` that a string such as `25%` stands for.
///
/// # Errors
/// If the value is a string that is not a percentage.
pub fn scaled_value(
    value: &IntOrString,
    total: i64,
    rounding: Rounding,
) -> Result<i64, IntOrStringError> {
    let percent = match value {
        IntOrString::Int(number) => return Ok(i64::from(*number)),
        IntOrString::String(text) => parse_percent(text)?,
    };
    let product = percent.saturating_mul(total);
    let floor = product.div_euclid(100);
    let exact = product.rem_euclid(100) == 0;
    Ok(match rounding {
        Rounding::Up if !exact => floor + 1,
        Rounding::Up | Rounding::Down => floor,
    })
}

/// The number before the `%` of a percentage.
fn parse_percent(text: &str) -> Result<i64, IntOrStringError> {
    let digits = text.strip_suffix('%').ok_or(IntOrStringError::NotAPercentage)?;
    digits.parse().map_err(|_| IntOrStringError::NotANumber(text.to_owned()))
}

/// The number from a percentage such as `25%`; `None` for anything else.
pub fn percent(value: &IntOrString) -> Option<i64> {
    match value {
        IntOrString::Int(_) => None,
        IntOrString::String(text) => parse_percent(text).ok(),
    }
}

/// The text of a value, as printers show it.
pub fn to_string(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> IntOrString {
        IntOrString::String(text.to_owned())
    }

    #[test]
    fn percentage_scaled_and_rounded_as_asked() {
        let table = [
            ("25%", 10, 3, 2),
            ("0%", 10, 0, 0),
            ("100%", 7, 7, 7),
            ("10%", 3, 1, 0),
            ("150%", 3, 5, 4),
        ];
        for (value, total, up, down) in table {
            assert_eq!(scaled_value(&text(value), total, Rounding::Up), Ok(up), "{value}");
            assert_eq!(scaled_value(&text(value), total, Rounding::Down), Ok(down), "{value}");
        }
        assert_eq!(scaled_value(&IntOrString::Int(4), 100, Rounding::Up), Ok(4));
    }

    #[test]
    fn string_without_percentage_refused() {
        assert_eq!(
            scaled_value(&text("4"), 10, Rounding::Up),
            Err(IntOrStringError::NotAPercentage)
        );
        assert_eq!(
            scaled_value(&text("x%"), 10, Rounding::Up).unwrap_err().to_string(),
            "invalid value for IntOrString: invalid value \"x%\": strconv.Atoi: parsing \"x\": invalid syntax"
        );
    }
}
