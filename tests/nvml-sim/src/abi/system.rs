//! The library and the driver as a whole.

use std::ffi::{c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings::nvmlReturn_t;

use super::{exports, put, put_text};
use crate::hardware::{self, call};

exports! {
    nvmlInit_v2() { hardware::init() }
    nvmlInitWithFlags(_flags: c_uint) { hardware::init() }
    nvmlShutdown() { hardware::shutdown() }
    nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) {
        call("nvmlSystemGetDriverVersion", None, |machine| put_text(version, length, &machine.driver().library))
    }
    nvmlSystemGetNVMLVersion(version: *mut c_char, length: c_uint) {
        call("nvmlSystemGetNVMLVersion", None, |machine| put_text(version, length, &format!("12.{}", machine.driver().library)))
    }
    nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) {
        call("nvmlSystemGetCudaDriverVersion_v2", None, |machine| put(version, machine.driver().cuda))
    }
    nvmlDeviceGetCount_v2(count: *mut c_uint) {
        call("nvmlDeviceGetCount_v2", None, |machine| put(count, machine.gpus.len() as c_uint))
    }
}

/// The only export that returns no code. The words are those of NVIDIA's library.
#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(code: nvmlReturn_t) -> *const c_char {
    let words = match code {
        0 => c"Success",
        1 => c"Uninitialized",
        2 => c"Invalid Argument",
        3 => c"Not Supported",
        4 => c"Insufficient Permissions",
        5 => c"Already Initialized",
        6 => c"Not Found",
        7 => c"Insufficient Size",
        8 => c"Insufficient External Power",
        9 => c"Driver Not Loaded",
        10 => c"Timeout",
        11 => c"Interrupt Request Issue",
        12 => c"NVML Shared Library Not Found",
        13 => c"Function Not Found",
        14 => c"Corrupted infoROM",
        15 => c"GPU is lost",
        16 => c"GPU requires reset",
        17 => c"GPU access blocked by the operating system",
        18 => c"Driver/library version mismatch",
        19 => c"In use by another client",
        20 => c"Insufficient Memory",
        21 => c"No data",
        22 => c"vGPU ECC not supported",
        23 => c"Insufficient Resources",
        24 => c"Invalid Frequency",
        25 => c"Argument version mismatch",
        26 => c"Requested functionality has been deprecated",
        27 => c"System is not in ready state",
        _ => c"Unknown Error",
    };
    words.as_ptr()
}
