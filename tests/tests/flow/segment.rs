//! TCP segments as the wire sees them: taken apart, and put together again with their sums.

/// A packet that holds a TCP segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    bytes: Vec<u8>,
    /// Where TCP's header and where the payload begin.
    tcp: usize,
    data: usize,
}

pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

impl Segment {
    /// `None` for what is no TCP over IPv4 or IPv6.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let (tcp, protocol) = match packet.first()? >> 4 {
            4 => (usize::from(packet[0] & 15) * 4, packet[9]),
            6 => (40, packet[6]),
            _ => return None,
        };
        if protocol != 6 {
            return None;
        }
        let data = tcp + usize::from(packet.get(tcp + 12)? >> 4) * 4;
        Some(Self { bytes: packet.to_vec(), tcp, data })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[self.data..]
    }

    /// Of the sender.
    pub(crate) fn port(&self) -> u16 {
        u16::from_be_bytes([self.bytes[self.tcp], self.bytes[self.tcp + 1]])
    }

    pub(crate) fn seq(&self) -> u32 {
        u32::from_be_bytes(self.bytes[self.tcp + 4..self.tcp + 8].try_into().unwrap())
    }

    pub(crate) fn flags(&self) -> u8 {
        self.bytes[self.tcp + 13]
    }

    /// The same with other flags, another sequence number and other payload.
    pub(crate) fn with(&self, flags: u8, seq: u32, payload: &[u8]) -> Self {
        let mut bytes = self.bytes[..self.data].to_vec();
        bytes.extend_from_slice(payload);
        bytes[self.tcp + 4..self.tcp + 8].copy_from_slice(&seq.to_be_bytes());
        bytes[self.tcp + 13] = flags;
        let mut segment = Self { bytes, ..*self };
        segment.sum();
        segment
    }

    /// Together with what follows it, as one segment.
    pub(crate) fn joined(&self, next: &Self) -> Self {
        let payload = [self.payload(), next.payload()].concat();
        self.with(self.flags() | next.flags(), self.seq(), &payload)
    }

    /// Writes lengths and sums.
    fn sum(&mut self) {
        let length = (self.bytes.len() - self.tcp) as u16;
        let addresses = if self.bytes[0] >> 4 == 4 {
            let total = (self.bytes.len() as u16).to_be_bytes();
            self.bytes[2..4].copy_from_slice(&total);
            self.bytes[10..12].fill(0);
            let sum = fold(words(&self.bytes[..self.tcp]));
            self.bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            words(&self.bytes[12..20])
        } else {
            self.bytes[4..6].copy_from_slice(&length.to_be_bytes());
            words(&self.bytes[8..40])
        };
        self.bytes[self.tcp + 16..self.tcp + 18].fill(0);
        let sum = fold(addresses + 6 + u32::from(length) + words(&self.bytes[self.tcp..]));
        self.bytes[self.tcp + 16..self.tcp + 18].copy_from_slice(&sum.to_be_bytes());
    }
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
