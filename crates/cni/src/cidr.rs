//! IPv4 ranges in CIDR notation.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A range such as `10.42.1.0/24`. Its address is the first of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    /// The first address.
    pub address: Ipv4Addr,
    /// How many leading bits are fixed, 0 to 32.
    pub prefix: u8,
}

/// The text is not an IPv4 range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 range such as 10.42.0.0/16")]
pub struct ParseCidrError(String);

impl Cidr {
    /// The range with these leading bits; bits after them are dropped.
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Self {
        Self { address: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix }
    }

    /// Whether an address is in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.address.to_bits()
    }

    /// The `n`-th address of the range, if it has so many.
    pub fn nth(&self, n: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from_bits(self.address.to_bits().checked_add(n)?);
        self.contains(address).then_some(address)
    }

    /// How many addresses the range has.
    pub fn size(&self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    /// The netmask, such as `255.255.255.0`.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }
}

const fn mask(prefix: u8) -> u32 {
    match prefix {
        0 => 0,
        prefix => u32::MAX << (32 - prefix),
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let wrong = || ParseCidrError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let (address, prefix) = (address.parse().ok(), prefix.parse().ok());
        let prefix: u8 = prefix.filter(|prefix| *prefix <= 32).ok_or_else(wrong)?;
        Ok(Self::new(address.ok_or_else(wrong)?, prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_parse_print_and_count() {
        let cidr: Cidr = "10.42.1.77/24".parse().unwrap();
        assert_eq!(cidr.to_string(), "10.42.1.0/24");
        assert_eq!(cidr.nth(255), Some(Ipv4Addr::new(10, 42, 1, 255)));
        assert_eq!(cidr.nth(256), None);
        assert_eq!(cidr.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert!(!cidr.contains(Ipv4Addr::new(10, 42, 2, 0)));
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert_eq!(all.size(), 1 << 32);
        assert!(all.contains(Ipv4Addr::BROADCAST));
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/0"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
