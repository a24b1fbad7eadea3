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

/// The only export that returns no code.
#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(_code: nvmlReturn_t) -> *const c_char {
    c"a simulated error".as_ptr()
}
