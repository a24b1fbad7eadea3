//! The exported functions, by subject. What they mean, and what they return when, stands in `nvml.h`.

mod clocks;
mod energy;
pub(crate) mod events;
mod fields;
mod gpm;
mod health;
mod identity;
mod links;
mod mig;
mod processes;
mod system;
mod utilization;

use std::ffi::{c_char, c_uint};

use nvml_wrapper_sys::bindings::{
    nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE as INSUFFICIENT_SIZE,
    nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT, nvmlReturn_enum_NVML_SUCCESS as SUCCESS,
    nvmlReturn_t,
};

pub(crate) use nvml_wrapper_sys::bindings::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED as NOT_SUPPORTED;

/// What the body of an export returns.
type Answer<T = ()> = Result<T, nvmlReturn_t>;

/// Exports functions; says their `NAMES`, and has `signatures`, which compiles only where they are what `nvml.h` declares.
macro_rules! exports {
    ($($(#[$meta:meta])* $name:ident($($argument:ident: $type:ty),*) $body:block)*) => {
        $(
            $(#[$meta])*
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) -> nvml_wrapper_sys::bindings::nvmlReturn_t {
                let _timed = crate::account::Timed::begin();
                let answer: crate::abi::Answer = $body;
                crate::abi::code(answer)
            }
        )*

        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

        #[cfg(test)]
        pub(super) fn signatures(library: &mut nvml_wrapper_sys::bindings::NvmlLib) {
            $(library.$name = Ok($name);)*
        }
    };
}
use exports;

/// Names of all functions that the library exports.
pub fn functions() -> Vec<&'static str> {
    [
        clocks::NAMES,
        energy::NAMES,
        events::NAMES,
        fields::NAMES,
        gpm::NAMES,
        health::NAMES,
        identity::NAMES,
        links::NAMES,
        mig::NAMES,
        processes::NAMES,
        system::NAMES,
        utilization::NAMES,
        &["nvmlErrorString"],
    ]
    .concat()
}

fn code(answer: Answer) -> nvmlReturn_t {
    answer.err().unwrap_or(SUCCESS)
}

/// Supported, or not.
fn supported(has: bool) -> Answer {
    if has { Ok(()) } else { Err(NOT_SUPPORTED) }
}

/// Hands a value out.
fn put<T>(to: *mut T, value: T) -> Answer {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, and whoever calls a function of the C ABI vouches for the pointers it passes.
    unsafe { to.write(value) };
    Ok(())
}

/// Takes a value in.
fn take<T: Copy>(from: *const T) -> Answer<T> {
    if from.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: as in `put`.
    Ok(unsafe { from.read() })
}

/// Hands a string out.
fn put_text(to: *mut c_char, length: c_uint, text: &str) -> Answer {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= length as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: as in `put`; the string and its end fit into `length`.
    unsafe {
        to.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
        to.add(text.len()).write(0);
    }
    Ok(())
}

/// Hands a list out; the caller is told its length where it does not fit.
fn put_list<T>(to: *mut T, count: *mut c_uint, values: Vec<T>) -> Answer {
    let room = take(count)? as usize;
    put(count, values.len() as c_uint)?;
    if values.is_empty() {
        return Ok(());
    }
    if to.is_null() || room < values.len() {
        return Err(INSUFFICIENT_SIZE);
    }
    for (place, value) in values.into_iter().enumerate() {
        // SAFETY: as in `put`; the caller has room for more than `place` values.
        unsafe { to.add(place).write(value) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nvml_wrapper_sys::bindings::NvmlLib;

    /// Compiles only while every export has the signature that `nvml-wrapper-sys` declares for it.
    #[test]
    fn exports_have_the_signatures_of_nvml_h() {
        let all: [fn(&mut NvmlLib); 12] = [
            super::clocks::signatures,
            super::energy::signatures,
            super::events::signatures,
            super::fields::signatures,
            super::gpm::signatures,
            super::health::signatures,
            super::identity::signatures,
            super::links::signatures,
            super::mig::signatures,
            super::processes::signatures,
            super::system::signatures,
            super::utilization::signatures,
        ];
        assert_eq!(all.len(), 12);
    }
}
