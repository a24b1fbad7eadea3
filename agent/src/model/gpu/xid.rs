//! Xid errors: what their numbers mean, after NVIDIA's catalogue.

use crate::model::event::Severity::{self, Error, Info, Warn};

/// What is known of a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Xid {
    code: u32,
    pub(super) severity: Severity,
    pub(super) meaning: &'static str,
    pub(super) mend: &'static str,
}

const APPLICATION: &str = "look for the fault in the application; the GPU is fine";
const RESET: &str = "drain the GPU and reset it; if it comes again, have the board checked";
const REBOOT: &str = "drain the node and reboot it; if it comes again, have the board checked";
const REPLACE: &str = "have the board replaced";
const DRIVER: &str = "collect nvidia-bug-report.sh, update driver and firmware";

const fn xid(code: u32, severity: Severity, meaning: &'static str, mend: &'static str) -> Xid {
    Xid { code, severity, meaning, mend }
}

static UNKNOWN: Xid = xid(0, Warn, "not in the agent's catalogue", "see NVIDIA's Xid catalogue and the kernel's log");

static KNOWN: [Xid; 38] = [
    xid(
        13,
        Info,
        "exception of the graphics engine: usually an illegal instruction or address of an application",
        APPLICATION,
    ),
    xid(31, Info, "page fault of GPU memory: an application used an illegal address", APPLICATION),
    xid(32, Warn, "corrupted stream of commands", "check PCIe and the driver; an application may cause it too"),
    xid(38, Error, "error of the driver's firmware", DRIVER),
    xid(43, Info, "a channel was reset after an application's error", APPLICATION),
    xid(
        45,
        Info,
        "channels were cleaned up, because a process ended or an error came before",
        "see the Xid before this one",
    ),
    xid(48, Error, "uncorrectable (double-bit) ECC error", RESET),
    xid(54, Error, "auxiliary power is not connected", "connect the board's power"),
    xid(56, Error, "error of the display engine", DRIVER),
    xid(57, Error, "error in programming the video memory interface", REBOOT),
    xid(58, Error, "unstable video memory interface", REBOOT),
    xid(61, Warn, "breakpoint or warning of an internal controller", RESET),
    xid(62, Error, "an internal controller halted", RESET),
    xid(
        63,
        Warn,
        "a page was retired, or a row is to be remapped",
        "reset the GPU at the next occasion, so that the row is remapped",
    ),
    xid(64, Error, "a page could not be retired, or a row could not be remapped", REPLACE),
    xid(65, Error, "exception of the video processor", RESET),
    xid(68, Info, "exception of the video decoder: often an application's", APPLICATION),
    xid(69, Info, "class error of the graphics engine: often an application's", APPLICATION),
    xid(74, Error, "NVLink error", "check links and bridges (`nvidia-smi nvlink -e`); reset the GPUs of the fabric"),
    xid(78, Error, "a vGPU could not be started", DRIVER),
    xid(79, Error, "the GPU fell off the bus", "check power, seating and temperature; reboot the node"),
    xid(80, Error, "corrupted data was sent to the GPU", REBOOT),
    xid(92, Warn, "many corrected ECC errors", "watch it; run diagnostics"),
    xid(
        94,
        Warn,
        "contained uncorrectable ECC error: the application that met it was stopped",
        "restart the application; reset the GPU at the next occasion",
    ),
    xid(95, Error, "uncontained uncorrectable ECC error: all applications are concerned", RESET),
    xid(109, Warn, "a switch of contexts timed out", "restart the application; an application may cause it"),
    xid(110, Error, "security fault", REBOOT),
    xid(119, Error, "the GPU's system processor does not answer", RESET),
    xid(120, Error, "error of the GPU's system processor", RESET),
    xid(121, Warn, "corrected error of the C2C link", "watch it; reset the GPU at the next occasion"),
    xid(122, Error, "error of the memory that holds the board's own data", REBOOT),
    xid(123, Error, "error of the power management unit", RESET),
    xid(136, Error, "link training failed", REBOOT),
    xid(140, Error, "unrecovered ECC error", RESET),
    xid(143, Error, "a GPU could not be initialised", REBOOT),
    xid(145, Error, "NVLink error of the receiver", "check links and switches; reset the GPUs of the fabric"),
    xid(149, Error, "NVLink error of the network layer", "check links and switches; reset the GPUs of the fabric"),
    xid(154, Warn, "the action that the GPU wants for recovery changed", "see `nvidia-smi -q` for the action"),
];

/// What a number means.
pub(super) fn explain(code: u32) -> &'static Xid {
    KNOWN.iter().find(|xid| xid.code == code).unwrap_or(&UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_and_once() {
        assert!(KNOWN.windows(2).all(|two| two[0].code < two[1].code));
    }

    #[test]
    fn faults_of_applications_are_no_alarms() {
        // The numbers that NVIDIA's device plugin ignores for a GPU's health.
        for code in [13, 31, 43, 45, 68, 109] {
            assert!(explain(code).severity < Error, "{code}");
        }
        assert_eq!(explain(79).severity, Error);
        assert_eq!(explain(4711).code, 0);
    }
}
