//! Xid errors from the kernel's log: each with its own number, unlike the driver's events.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Longest record of the kernel's log.
const RECORD: usize = 8192;
/// Records that one look takes; the others wait for the next.
const RECORDS: usize = 1024;

/// An Xid error as the kernel's log tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Xid {
    /// PCI domain, bus and device.
    pub(super) pci: (u32, u32, u32),
    pub(super) code: u32,
    pub(super) pid: Option<u32>,
}

/// The kernel's log, from now on.
#[derive(Debug)]
pub(super) struct KernelLog {
    file: File,
}

impl KernelLog {
    /// Opens it at its end.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file })
    }

    /// The errors that came since the last look. Never waits.
    pub(super) fn xids(&mut self) -> Vec<Xid> {
        let mut found = Vec::new();
        let mut record = [0; RECORD];
        for _ in 0..RECORDS {
            match self.file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    found.extend(text.lines().filter_map(xid));
                }
                // Records that were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => break,
            }
        }
        found
    }
}

/// Reads a line like `4,1234,567,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=4242, name=python3, GPU has fallen off the bus.`
fn xid(line: &str) -> Option<Xid> {
    let told = line.split_once("NVRM: Xid (PCI:")?.1;
    let (bus, told) = told.split_once("): ")?;
    let digits = told.find(|c: char| !c.is_ascii_digit()).unwrap_or(told.len());
    let code = told[..digits].parse().ok()?;
    let pid = told.split_once("pid=").map(|(_, after)| after.trim_start_matches(['\'', '"']));
    let pid = pid.and_then(|pid| pid.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    Some(Xid { pci: pci(bus)?, code, pid })
}

/// Domain, bus and device of a PCI address: `0000:3b:00`, with or without a function behind it.
pub(super) fn pci(address: &str) -> Option<(u32, u32, u32)> {
    let mut parts = address.split([':', '.']).map(|part| u32::from_str_radix(part, 16).ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    proptest! {
        /// What the driver writes is read back, whatever stands around it.
        #[test]
        fn every_error_is_read(
            domain in 0u32..0x1_0000, bus in 0u32..256, device in 0u32..32, code in any::<u32>(), pid in any::<u32>(),
            before in "[ -~]{0,30}", after in "[^\\n]{0,60}",
        ) {
            let line = format!("{before}NVRM: Xid (PCI:{domain:04x}:{bus:02x}:{device:02x}): {code}, pid={pid}, {after}");
            prop_assert_eq!(xid(&line), Some(Xid { pci: (domain, bus, device), code, pid: Some(pid) }));
        }

        /// Anything else is left alone.
        #[test]
        fn any_line_is_taken(begin in "(NVRM: Xid \\(PCI:)?", middle in ".{0,20}", end in "(\\): )?.{0,40}") {
            let _: Option<Xid> = xid(&format!("{begin}{middle}{end}"));
        }
    }

    #[test]
    fn lines_of_the_kernel_are_understood() {
        let line = "4,1234,5678,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=4242, name=python3, Ch 00000008, intr 00000000.";
        assert_eq!(xid(line), Some(Xid { pci: (0, 0x3b, 0), code: 31, pid: Some(4242) }));
        let line = "NVRM: Xid (PCI:0001:af:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.";
        assert_eq!(xid(line), Some(Xid { pci: (1, 0xaf, 0), code: 79, pid: None }));
        assert_eq!(xid("NVRM: Xid (PCI:0000:3b:00): 43"), Some(Xid { pci: (0, 0x3b, 0), code: 43, pid: None }));
        for other in ["", "usb 1-1: new device", "NVRM: Xid (PCI:", "NVRM: Xid (PCI:zz): x", "NVRM: Xid (PCI:0:1): 5"] {
            assert_eq!(xid(other), None, "{other}");
        }
    }

    #[test]
    fn an_address_is_the_same_in_both_spellings() {
        assert_eq!(pci("00000000:3B:00.0"), pci("0000:3b:00"));
    }

    #[test]
    fn the_log_is_read_from_now_on() {
        let path = std::env::temp_dir().join(format!("inferscope-kmsg-{}", std::process::id()));
        std::fs::write(&path, "NVRM: Xid (PCI:0000:3b:00): 13\n").unwrap();
        let mut log = KernelLog::open(&path).unwrap();
        assert_eq!(log.xids(), []);
        let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
        writer.write_all(b"NVRM: Xid (PCI:0000:3b:00): 48\nother\nNVRM: Xid (PCI:0000:3b:00): 94\n").unwrap();
        assert_eq!(log.xids().iter().map(|xid| xid.code).collect::<Vec<_>>(), [48, 94]);
        std::fs::remove_file(&path).unwrap();
    }
}
