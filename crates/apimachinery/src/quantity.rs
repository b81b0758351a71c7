//! Fixed-point numbers with suffixes, such as `500m` and `1Gi`; the counterpart of `k8s.io/apimachinery/pkg/api/resource`.
//!
//! Invariants: no floating point; a canonical form has no fraction, the largest suffix that fits, and parses back to the same
//! value; precision ends at 10⁻⁹, rounded away from zero. Where Kubernetes computes with unbounded numbers, 36 digits bound
//! us; more are refused.

use std::cmp::Ordering;
use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

/// The smallest power of ten a quantity can hold.
const NANO: i32 = -9;

/// The most significant digits a quantity can hold, so that arithmetic with any suffix stays within 128 bits.
const MAX_DIGITS: usize = 36;

/// The greatest exponent accepted, as in `1e1000`; far beyond any use, it bounds the work of comparing.
const MAX_EXPONENT: i32 = 1000;

/// Which family of suffixes a quantity is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Powers of ten as `e3`.
    DecimalExponent,
    /// Powers of 1024, such as `Mi`.
    BinarySI,
    /// Powers of 1000, such as `M`, and `m` for thousandths.
    #[default]
    DecimalSI,
}

/// Why a text is no quantity; the messages are Kubernetes'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not have the form of a quantity.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number cannot be read, or has too many digits.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// A parsed quantity: `mantissa` × 10^`exponent`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    mantissa: i128,
    exponent: i32,
    format: Format,
}

/// The suffixes of thousands, from 10⁻⁹ up.
const DECIMAL_SUFFIXES: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

/// The suffixes of 1024; the index is the power.
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// What a suffix multiplies by.
enum Suffix {
    Ten { exponent: i32, format: Format },
    Two { exponent: u32 },
}

fn parse_suffix(text: &str) -> Result<Suffix, QuantityError> {
    if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(suffix, _)| *suffix == text) {
        return Ok(Suffix::Ten { exponent: *exponent, format: Format::DecimalSI });
    }
    if let Some(power) = BINARY_SUFFIXES.iter().position(|suffix| *suffix == text) {
        return Ok(Suffix::Two { exponent: power as u32 * 10 });
    }
    let digits = text.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    let exponent: i32 = digits.parse().map_err(|_| QuantityError::Suffix)?;
    match exponent.abs() <= MAX_EXPONENT {
        true => Ok(Suffix::Ten { exponent, format: Format::DecimalExponent }),
        false => Err(QuantityError::Suffix),
    }
}

/// The parts of a quantity's text.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number_end =
        unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.is_empty() || !is_suffix_shaped(suffix) {
        return Err(QuantityError::Format);
    }
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(QuantityError::Numeric);
    }
    Ok(Parts { negative: text.starts_with('-'), whole, fraction, suffix })
}

/// Letters of suffixes, then maybe a signed number.
fn is_suffix_shaped(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `value` / 10^`places`, rounded away from zero, and whether nothing was lost.
fn shift_down(value: i128, places: u32) -> (i128, bool) {
    let Some(divisor) = 10i128.checked_pow(places) else { return (value.signum(), value == 0) };
    let (quotient, rest) = (value / divisor, value % divisor);
    (quotient + rest.signum(), rest == 0)
}

/// `value` × 10^`places`, if it fits.
fn shift_up(value: i128, places: u32) -> Option<i128> {
    match value {
        0 => Some(0),
        _ => value.checked_mul(10i128.checked_pow(places)?),
    }
}

impl Quantity {
    /// A whole number in that format.
    pub const fn new(value: i64, format: Format) -> Self {
        Self { mantissa: value as i128, exponent: 0, format }
    }

    /// A number of thousandths, such as CPU millicores.
    pub const fn from_milli(value: i64) -> Self {
        Self { mantissa: value as i128, exponent: -3, format: Format::DecimalSI }
    }

    /// Parses the text of a quantity.
    ///
    /// # Errors
    /// Kubernetes' message if the text is no quantity, or has more digits than we hold.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let parts = split(text)?;
        let suffix = parse_suffix(parts.suffix)?;
        let (mantissa, exponent) = parse_number(parts.whole, parts.fraction)?;
        let mantissa = if parts.negative { -mantissa } else { mantissa };
        let parsed = match suffix {
            Suffix::Ten { exponent: shift, format } => {
                Self { mantissa, exponent: exponent + shift, format }
            }
            Suffix::Two { exponent: shift } => {
                let mantissa =
                    mantissa.checked_mul(1i128 << shift).ok_or(QuantityError::Numeric)?;
                Self { mantissa, exponent, format: Format::BinarySI }.capped()
            }
        };
        Ok(parsed.rounded_to_nano().settled())
    }

    /// Reads the quantity in an API object.
    ///
    /// # Errors
    /// As [`Quantity::parse`].
    pub fn from_wire(wire: &WireQuantity) -> Result<Self, QuantityError> {
        Self::parse(&wire.0)
    }

    /// This quantity for an API object, in canonical form.
    pub fn to_wire(self) -> WireQuantity {
        WireQuantity(self.to_string())
    }

    /// Binary quantities are capped at the greatest 64-bit number.
    fn capped(self) -> Self {
        let limit = Self::new(i64::MAX, Format::BinarySI);
        match self.mantissa < 0 {
            false if self > limit => limit,
            true if self.negated() > limit => limit.negated(),
            _ => self,
        }
    }

    fn negated(self) -> Self {
        Self { mantissa: -self.mantissa, ..self }
    }

    fn rounded_to_nano(self) -> Self {
        match self.exponent < NANO {
            true => {
                let (mantissa, _) = shift_down(self.mantissa, self.exponent.abs_diff(NANO));
                Self { mantissa, exponent: NANO, ..self }
            }
            false => self,
        }
    }

    /// Takes factors of ten out of the mantissa, and writes binary fractions below one as decimals.
    fn settled(mut self) -> Self {
        while self.mantissa != 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.exponent += 1;
        }
        if self.mantissa == 0 {
            self.exponent = 0;
        }
        if self.format == Format::BinarySI
            && self.mantissa > 0
            && self < Self::new(1, Format::BinarySI)
        {
            self.format = Format::DecimalSI;
        }
        self
    }

    /// The family of suffixes this quantity is written with.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// True for zero.
    pub const fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// -1, 0 or 1.
    pub const fn signum(&self) -> i32 {
        self.mantissa.signum() as i32
    }

    /// The whole number, rounded away from zero; saturates at 64 bits.
    pub fn value(&self) -> i64 {
        self.scaled_value(0)
    }

    /// The number of thousandths, rounded away from zero; saturates at 64 bits.
    pub fn milli_value(&self) -> i64 {
        self.scaled_value(-3)
    }

    /// The number of units of 10^`scale`, rounded away from zero; saturates at 64 bits.
    pub fn scaled_value(&self, scale: i32) -> i64 {
        let limit = if self.mantissa < 0 { i64::MIN } else { i64::MAX };
        let places = self.exponent.abs_diff(scale);
        let wide = match self.exponent < scale {
            true => Some(shift_down(self.mantissa, places).0),
            false => shift_up(self.mantissa, places),
        };
        wide.and_then(|value| i64::try_from(value).ok()).unwrap_or(limit)
    }

    /// The nearest floating-point number.
    pub fn to_f64(&self) -> f64 {
        self.mantissa as f64 * 10f64.powi(self.exponent)
    }

    /// The sum; a zero takes over the other's format. Saturates at what the mantissa holds.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "it saturates and chooses a format, which `+` would hide"
    )]
    pub fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        let exponent = self.exponent.min(other.exponent);
        let at = |q: Self| shift_up(q.mantissa, q.exponent.abs_diff(exponent));
        let sum = at(self).zip(at(other)).and_then(|(a, b)| a.checked_add(b));
        match sum {
            Some(mantissa) => Self { mantissa, exponent, format }.settled(),
            None if self.magnitude_exceeds(&other) => Self { format, ..self },
            None => Self { format, ..other },
        }
    }

    /// The difference; a zero takes over the other's format.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "it saturates and chooses a format, which `-` would hide"
    )]
    pub fn sub(self, other: Self) -> Self {
        self.add(other.negated())
    }

    /// True if this number is farther from zero.
    fn magnitude_exceeds(&self, other: &Self) -> bool {
        let positive = |q: &Self| Self { mantissa: q.mantissa.abs(), ..*q };
        positive(self) > positive(other)
    }

    /// The text in powers of 1000, or with an exponent.
    fn decimal(&self) -> String {
        let exponent = self.exponent.div_euclid(3) * 3;
        let (exponent, text) = match self.format {
            Format::DecimalExponent => {
                (exponent, if exponent == 0 { String::new() } else { format!("e{exponent}") })
            }
            Format::BinarySI | Format::DecimalSI => {
                let capped = exponent.min(18);
                let suffix = DECIMAL_SUFFIXES
                    .iter()
                    .find(|(_, power)| *power == capped)
                    .map_or("", |(suffix, _)| suffix);
                (capped, suffix.to_owned())
            }
        };
        let zeros = "0".repeat(self.exponent.abs_diff(exponent) as usize);
        format!("{}{zeros}{text}", self.mantissa)
    }

    /// The text in powers of 1024, for whole numbers of at least 1024.
    fn binary(&self) -> Option<String> {
        let mut value = match self.exponent >= 0 {
            true => shift_up(self.mantissa, self.exponent.unsigned_abs())?,
            false => return None,
        };
        if value.abs() < 1024 {
            return None;
        }
        let mut power = 0;
        while value % 1024 == 0 && power + 1 < BINARY_SUFFIXES.len() {
            value /= 1024;
            power += 1;
        }
        Some(format!("{value}{}", BINARY_SUFFIXES[power]))
    }
}

/// The digits as a mantissa and a power of ten. Digits beyond 10⁻⁴⁰ only decide the rounding.
fn parse_number(whole: &str, fraction: &str) -> Result<(i128, i32), QuantityError> {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Ok((0, 0));
    }
    if significant.len() > MAX_DIGITS {
        return Err(QuantityError::Numeric);
    }
    let mantissa = significant.parse().map_err(|_| QuantityError::Numeric)?;
    let places = i32::try_from(fraction.len()).map_err(|_| QuantityError::Numeric)?;
    match places <= MAX_EXPONENT {
        true => Ok((mantissa, -places)),
        false => Err(QuantityError::Numeric),
    }
}

impl fmt::Display for Quantity {
    /// Writes the canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let binary = if self.format == Format::BinarySI { self.binary() } else { None };
        f.write_str(&binary.unwrap_or_else(|| self.decimal()))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    /// Compares the values; the format does not matter.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_sign = self.signum().cmp(&other.signum());
        if by_sign != Ordering::Equal || self.is_zero() {
            return by_sign;
        }
        let exponent = self.exponent.min(other.exponent);
        let at = |q: &Self| shift_up(q.mantissa, q.exponent.abs_diff(exponent));
        match (at(self), at(other)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // Only the one with the greater exponent can overflow, so it is farther from zero.
            _ if self.mantissa > 0 => self.exponent.cmp(&other.exponent),
            _ => other.exponent.cmp(&self.exponent),
        }
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

/// Brings the quantity in an API object to canonical form, as decoding does.
///
/// # Errors
/// As [`Quantity::parse`].
pub fn canonicalize(wire: &mut WireQuantity) -> Result<(), QuantityError> {
    *wire = Quantity::from_wire(wire)?.to_wire();
    Ok(())
}

/// Compares two quantities of API objects by value; what cannot be parsed counts as zero.
pub fn compare(a: &WireQuantity, b: &WireQuantity) -> Ordering {
    let read = |wire| Quantity::from_wire(wire).unwrap_or_default();
    read(a).cmp(&read(b))
}

#[cfg(test)]
mod tests;
