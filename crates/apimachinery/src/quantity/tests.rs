//! Tables of canonical forms, and laws that hold for all quantities.

use proptest::prelude::*;

use super::*;

fn q(text: &str) -> Quantity {
    Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn quantity_written_in_canonical_form() {
    let table = [
        ("0", "0"),
        ("0Ki", "0"),
        ("-0", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("01", "1"),
        ("-1", "-1"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("1.5", "1500m"),
        ("100m", "100m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.1m", "100u"),
        ("0.0000000001", "1n"),
        ("-0.0000000001", "-1n"),
        ("1k", "1k"),
        ("1000", "1k"),
        ("1000k", "1M"),
        ("1234567", "1234567"),
        ("1.5G", "1500M"),
        ("1000E", "1000E"),
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.5Mi", "512Ki"),
        ("1.1Ki", "1126400m"),
        ("0.1Ki", "102400m"),
        ("1000Ki", "1000Ki"),
        ("8Ei", "9223372036854775807"),
        ("-8Ei", "-9223372036854775807"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e6", "12e6"),
        ("1e2", "100"),
        ("1.5e3", "1500"),
        ("1e-3", "1e-3"),
        ("1e-1", "100e-3"),
        ("1e30", "1e30"),
        ("500u", "500u"),
        ("1n", "1n"),
    ];
    for (text, canonical) in table {
        assert_eq!(q(text).to_string(), canonical, "{text}");
        let mut wire = WireQuantity(text.to_owned());
        canonicalize(&mut wire).unwrap();
        assert_eq!(wire.0, canonical);
    }
}

#[test]
fn text_that_is_no_quantity_refused() {
    for text in ["", "a", "1a", "1 ", " 1", "--1", "1Kib", "0x10", "1,5", "k", "+", "1Ki5x"] {
        assert_eq!(Quantity::parse(text).unwrap_err(), QuantityError::Format, "{text:?}");
    }
    for text in ["1.2.3", ".", "9".repeat(40).as_str()] {
        assert_eq!(Quantity::parse(text).unwrap_err(), QuantityError::Numeric, "{text:?}");
    }
    for text in ["1i", "1mi", "1K", "1Ki1", "1e", "1e99999999999", "1ee3", "1-1"] {
        assert_eq!(Quantity::parse(text).unwrap_err(), QuantityError::Suffix, "{text:?}");
    }
}

#[test]
fn values_rounded_up() {
    let table = [
        ("1", 1, 1000),
        ("1500m", 2, 1500),
        ("1n", 1, 1),
        ("-1500m", -2, -1500),
        ("1Ki", 1024, 1_024_000),
        ("2k", 2000, 2_000_000),
    ];
    for (text, value, milli) in table {
        assert_eq!((q(text).value(), q(text).milli_value()), (value, milli), "{text}");
    }
    assert_eq!(q("1e30").value(), i64::MAX);
    assert_eq!(q("-1e30").value(), i64::MIN);
    assert_eq!(q("10E").milli_value(), i64::MAX);
}

#[test]
fn sums_keep_the_format() {
    let table = [
        ("1Gi", "1Gi", "2Gi", "0"),
        ("1", "500m", "1500m", "500m"),
        ("0", "1Gi", "1Gi", "-1Gi"),
        ("1k", "1Ki", "2024", "-24"),
        ("1e3", "1", "1001", "999"),
    ];
    for (a, b, sum, difference) in table {
        assert_eq!(q(a).add(q(b)).to_string(), sum, "{a} + {b}");
        assert_eq!(q(a).sub(q(b)).to_string(), difference, "{a} - {b}");
    }
}

#[test]
fn quantities_compared_by_value() {
    let ascending = [
        "-1e30", "-1", "-1m", "0", "1n", "1m", "1", "999", "1k", "1Ki", "1M", "1Mi", "1Ei", "1e100",
    ];
    for pair in ascending.windows(2) {
        assert!(q(pair[0]) < q(pair[1]), "{pair:?}");
    }
    assert_eq!(q("1000m"), q("1"));
    assert_eq!(q("1024"), q("1Ki"));
    assert_eq!(
        compare(&WireQuantity("1Gi".into()), &WireQuantity("1024Mi".into())),
        Ordering::Equal
    );
}

proptest! {
    #[test]
    fn canonical_form_is_idempotent_and_keeps_the_value(
        sign in "[+-]?",
        number in "[0-9]{1,12}(\\.[0-9]{0,9})?",
        suffix in prop::sample::select(vec!["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "e3", "E-2", "e12"]),
    ) {
        let text = format!("{sign}{number}{suffix}");
        let parsed = q(&text);
        let canonical = parsed.to_string();
        let again = q(&canonical);
        prop_assert_eq!(parsed, again, "{} is {}", text, canonical);
        prop_assert_eq!(again.to_string(), canonical);
        prop_assert!(!again.to_string().contains('.'));
    }

    #[test]
    fn sum_and_difference_are_inverse(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000) {
        let (a, b) = (Quantity::from_milli(a), Quantity::new(b, Format::BinarySI));
        prop_assert_eq!(a.add(b).sub(b), a);
        prop_assert_eq!(a.add(b), b.add(a));
        prop_assert_eq!(a.cmp(&b), a.sub(b).cmp(&Quantity::default()));
    }
}
