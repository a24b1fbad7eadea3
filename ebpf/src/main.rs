//! inferscope, the kernel half: one file of `probes/` for each signal.
#![no_std]
#![no_main]
#![feature(core_intrinsics, asm_experimental_arch)]
#![expect(internal_features, reason = "the target has no stable atomic addition; `hist` wraps the intrinsic")]

mod block;
mod exchange;
mod hist;
mod host;
mod maps;
mod offsets;
mod packet;
mod probes;
mod record;
mod replay;
mod sock;
mod walk;

/// The kernel asks for a GPL-compatible licence before it lends its GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
