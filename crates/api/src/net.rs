//! Addresses and address ranges as fields.
//!
//! Counterpart in Kubernetes: `k8s.io/apimachinery/pkg/util/validation/ip.go`, in its strict form: what C and Go once read
//! differently (leading zeros, IPv4 in IPv6) is refused.

use std::net::IpAddr;

use apimachinery::field::{ErrorList, Path};
use apimachinery::names;

use crate::report::Report;

/// An address with leading zeros in its numbers, as Go once accepted it.
fn with_zeros(value: &str) -> Option<String> {
    let part = |p: &str| {
        p.parse::<u8>()
            .ok()
            .filter(|_| p.bytes().all(|b| b.is_ascii_digit()))
            .map(|n| n.to_string())
    };
    let parts: Option<Vec<_>> = value.split('.').map(part).collect();
    parts.filter(|p| p.len() == 4).map(|p| p.join("."))
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

/// The field must be an address, unless it was so before. True when it is fine.
pub(crate) fn validate_ip(value: &str, old: &[String], at: &Path, errors: &mut ErrorList) -> bool {
    if old.iter().any(|o| o == value) {
        return true;
    }
    match value.parse::<IpAddr>() {
        Ok(ip) if is_mapped(ip) => {
            errors.invalid(at, value, "must not be an IPv4-mapped IPv6 address")
        }
        Ok(_) => return true,
        Err(_) if with_zeros(value).is_some() => {
            errors.invalid(at, value, "must not have leading 0s")
        }
        Err(_) => errors.invalid(
            at,
            value,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
    }
    false
}

/// The field must be an address in the form everybody writes. True when it is fine.
pub(crate) fn validate_canonical_ip(value: &str, at: &Path, errors: &mut ErrorList) -> bool {
    if !validate_ip(value, &[], at, errors) {
        return false;
    }
    let canonical = value.parse::<IpAddr>().map(|ip| ip.to_string()).unwrap_or_default();
    if canonical != value {
        errors.invalid(at, value, format!("must be in canonical form (\"{canonical}\")"));
    }
    canonical == value
}

/// The field must be a range in the form everybody writes.
pub(crate) fn validate_canonical_cidr(value: &str, at: &Path, errors: &mut ErrorList) {
    let known = errors.len();
    validate_cidr(value, &[], at, errors);
    let canonical = parse_cidr(value).map(|(ip, bits)| format!("{ip}/{bits}"));
    if let Some(canonical) = canonical.filter(|c| errors.len() == known && c != value) {
        errors.invalid(at, value, format!("must be in canonical form (\"{canonical}\")"));
    }
}

/// An address that passed [`validate_ip`] must be one that others can reach.
pub(crate) fn validate_endpoint_ip(value: &str, at: &Path, errors: &mut ErrorList) {
    let Ok(ip) = value.parse::<IpAddr>() else {
        return errors.invalid(at, value, "must be a valid IP address");
    };
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), matches!(ip.octets(), [224, 0, 0, _])),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let rules = [
        (ip.is_unspecified(), format!("may not be unspecified ({value})")),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (
            link_local_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned(),
        ),
    ];
    for (_, detail) in rules.into_iter().filter(|(broken, _)| *broken) {
        errors.invalid(at, value, detail);
    }
}

/// The field must be a DNS name of at least two labels.
pub(crate) fn validate_fqdn(value: &str, at: &Path, errors: &mut ErrorList) {
    if value.is_empty() {
        return errors.required(at, "");
    }
    let name = value.strip_suffix('.').unwrap_or(value);
    let problems = names::is_dns1123_subdomain(name);
    if !problems.is_empty() {
        return errors.invalid(at, name, problems.join(","));
    }
    if !name.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        return errors.invalid(at, name, detail);
    }
    let bad = name.split('.').map(|label| (label, names::is_dns1123_label(label)));
    if let Some((label, problems)) = bad.into_iter().find(|(_, problems)| !problems.is_empty()) {
        errors.invalid(at, label, problems.join(","));
    }
}

/// Whether the text is a range of addresses.
pub(crate) fn is_cidr(value: &str) -> bool {
    parse_cidr(value).is_some()
}

/// Whether `inner` lies within `outer` and is smaller; `None` when one of them is no range.
pub(crate) fn is_strict_subset(inner: &str, outer: &str) -> Option<bool> {
    let ((inner, inner_bits), (outer, outer_bits)) = (parse_cidr(inner)?, parse_cidr(outer)?);
    let same_family = inner.is_ipv4() == outer.is_ipv4();
    Some(
        same_family
            && outer_bits < inner_bits
            && masked(inner, outer_bits) == masked(outer, outer_bits),
    )
}

/// Whether the text is an IPv6 address.
pub(crate) fn is_ipv6(value: &str) -> bool {
    value.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Whether there is one address of each family.
pub(crate) fn is_dual_stack<'a>(mut values: impl Iterator<Item = &'a str> + Clone) -> bool {
    let address = |v: &str| v.split('/').next().unwrap_or_default().to_owned();
    values.clone().any(|v| is_ipv6(&address(v))) && values.any(|v| !is_ipv6(&address(v)))
}

/// The field must be a range of addresses written by its first one.
pub(crate) fn validate_cidr(value: &str, old: &[String], at: &Path, errors: &mut ErrorList) {
    if old.iter().any(|o| o == value) {
        return;
    }
    let problem = match parse_cidr(value) {
        Some((ip, _)) if is_mapped(ip) => "must not have an IPv4-mapped IPv6 address",
        Some((ip, bits)) if masked(ip, bits) != ip => {
            "must not have bits set beyond the prefix length"
        }
        Some(_) => return,
        None if without_zeros(value).is_some() => "must not have leading 0s in IP or prefix length",
        None => "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
    };
    errors.invalid(at, value, problem);
}

fn parse_cidr(value: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = value.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let bits = bits.parse().ok().filter(|_| plain)?;
    (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, bits))
}

fn without_zeros(value: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = value.split_once('/')?;
    let ip = with_zeros(ip).unwrap_or_else(|| ip.to_owned());
    let digits = bits.trim_start_matches('0');
    parse_cidr(&format!(
        "{ip}/{}",
        if digits.is_empty() && !bits.is_empty() { "0" } else { digits }
    ))
}

fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    }
}

/// Tells when an address is not written as everybody else writes it.
pub(crate) fn ip_warning(value: &str, at: &Path) -> Option<String> {
    let strict = value.parse::<IpAddr>().ok();
    let ip = strict.or_else(|| with_zeros(value)?.parse().ok())?;
    let plain = match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    };
    if strict.is_none() || is_mapped(ip) {
        return Some(format!(
            "{at}: non-standard IP address \"{value}\" is invalid: use \"{plain}\""
        ));
    }
    let canonical = ip.to_string();
    (canonical != value)
        .then(|| format!("{at}: IPv6 address \"{value}\" should be in RFC 5952 canonical format (\"{canonical}\")"))
}

/// Tells when a range that passed [`validate_cidr`] is not written as everybody else writes it.
pub(crate) fn cidr_warning(value: &str, at: &Path) -> Option<String> {
    let (ip, bits) = parse_cidr(value)?;
    let canonical = format!("{ip}/{bits}");
    (canonical != value).then(|| {
        format!("{at}: IPv6 CIDR value \"{value}\" should be in RFC 5952 canonical format (\"{canonical}\")")
    })
}

#[cfg(test)]
mod tests {
    use apimachinery::field::{ErrorList, Path};

    use super::{cidr_warning, ip_warning, validate_cidr, validate_ip};

    #[test]
    fn ip_warning_tells_the_usual_form() {
        let at = Path::new("x");
        for (value, usual) in [
            ("10.0.0.1", None),
            ("fd00::1", None),
            ("FD00::1", Some("fd00::1")),
            ("010.0.0.1", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
        ] {
            let told = ip_warning(value, &at);
            assert_eq!(told.is_some(), usual.is_some(), "{value}");
            assert!(
                usual.is_none_or(|usual| told.is_some_and(|t| t.contains(&format!("\"{usual}\"")))),
                "{value}"
            );
        }
        assert_eq!(cidr_warning("fd00::/64", &at), None);
        assert!(
            cidr_warning("fd00:0::/64", &at).is_some_and(|told| told.contains("\"fd00::/64\""))
        );
    }

    fn detail(check: impl Fn(&Path, &mut ErrorList)) -> String {
        let mut errors = ErrorList::new();
        check(&Path::new("x"), &mut errors);
        errors.first().map(|e| e.detail.clone()).unwrap_or_default()
    }

    #[test]
    fn validate_ip_tells_what_is_wrong() {
        for (value, problem) in [
            ("10.0.0.1", ""),
            ("fd00::1", ""),
            ("010.0.0.1", "leading 0s"),
            ("::ffff:10.0.0.1", "IPv4-mapped"),
            ("10.0.0", "must be a valid IP address"),
            ("", "must be a valid IP address"),
        ] {
            let told = detail(|at, errors| {
                assert_eq!(validate_ip(value, &[], at, errors), problem.is_empty())
            });
            assert!(
                told.contains(problem) && told.is_empty() == problem.is_empty(),
                "{value}: {told}"
            );
        }
    }

    #[test]
    fn validate_cidr_tells_what_is_wrong() {
        for (value, problem) in [
            ("10.0.0.0/8", ""),
            ("0.0.0.0/0", ""),
            ("fd00::/64", ""),
            ("10.0.0.1/8", "bits set"),
            ("10.0.0.0/08", "leading 0s"),
            ("010.0.0.0/8", "leading 0s"),
            ("10.0.0.0/33", "must be a valid CIDR"),
            ("10.0.0.0", "must be a valid CIDR"),
        ] {
            let told = detail(|at, errors| validate_cidr(value, &[], at, errors));
            assert!(
                told.contains(problem) && told.is_empty() == problem.is_empty(),
                "{value}: {told}"
            );
        }
    }
}
