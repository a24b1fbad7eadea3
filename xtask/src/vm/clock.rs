//! How fast this machine's time stamp counter runs, which is the one that guests read.

/// In kHz; `None` where there is none.
#[cfg(target_arch = "x86_64")]
pub(super) fn khz() -> Option<u64> {
    use std::time::Duration;

    const WINDOW: Duration = Duration::from_millis(200);

    let begun = moment();
    std::thread::sleep(WINDOW);
    let ended = moment();
    let micros = u64::try_from(ended.0.duration_since(begun.0).as_micros()).ok()?;
    ended.1.checked_sub(begun.1)?.saturating_mul(1000).checked_div(micros)
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn khz() -> Option<u64> {
    None
}

/// Both clocks at the same time: of some attempts the one that took the least.
#[cfg(target_arch = "x86_64")]
fn moment() -> (std::time::Instant, u64) {
    use std::arch::x86_64::_rdtsc;
    use std::time::Instant;

    let attempt = || {
        // SAFETY: it reads a counter.
        let (before, now, after) = unsafe { (_rdtsc(), Instant::now(), _rdtsc()) };
        (after.wrapping_sub(before), now, before)
    };
    let attempts = std::array::from_fn::<_, 16, _>(|_| attempt());
    let (_, now, ticks) = attempts.into_iter().min_by_key(|(took, ..)| *took).unwrap_or_else(attempt);
    (now, ticks)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::khz;

    #[test]
    fn two_looks_agree() {
        let (Some(one), Some(other)) = (khz(), khz()) else { panic!("no clock") };
        assert!(one.abs_diff(other) < one / 100, "{one} and {other} kHz");
    }
}
