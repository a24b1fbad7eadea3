//! Which bytes of one direction of a TCP stream are new, in whatever order and however often they pass.

/// Runs of bytes that may have been metered before their turn.
const RUNS: usize = 4;

/// How far back a segment may lie and still be one sent again: TCP's largest window.
const WINDOW: u32 = 1 << 30;

/// State of a direction; zeroed it has seen nothing.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Order {
    /// The next sequence number.
    next: u32,
    flags: u32,
    /// The sequence number behind the last byte, where [`ENDS`].
    end: u32,
    /// Begin and end of runs metered before their turn; both the same where there is none.
    early: [[u32; 2]; RUNS],
}

/// The first sequence number is known.
const SEEN: u32 = 1;
/// A FIN has come, and with it the place where the stream ends.
const ENDS: u32 = 2;
/// Some run is not empty.
const EARLY: u32 = 4;

/// What a segment brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Its bytes from `from` on are the next ones, `len` of them.
    Next {
        /// Bytes of it that were known.
        from: u32,
        /// Bytes that are new.
        len: u32,
    },
    /// So many bytes before it have not passed.
    Ahead(u32),
    /// Nothing that has not been metered.
    Known,
}

impl Order {
    /// True once the first sequence number is known.
    #[inline(always)]
    pub fn has_begun(&self) -> bool {
        self.flags & SEEN != 0
    }

    /// Begins at `next`, if nothing has passed yet. Else the first segment begins, be it one that came too early.
    #[inline(always)]
    pub fn begin(&mut self, next: u32) {
        if !self.has_begun() {
            self.flags |= SEEN;
            self.next = next;
        }
    }

    /// True for a segment that is simply the next one, as nearly all are: nothing waits for it.
    #[inline(always)]
    pub fn is_next(&self, seq: u32) -> bool {
        self.flags == SEEN && seq == self.next
    }

    /// Goes on behind a segment that [`Self::is_next`].
    #[inline(always)]
    pub fn take_next(&mut self, len: u32) {
        self.next = self.next.wrapping_add(len);
    }

    /// Judges a segment that holds at least one byte.
    #[inline(always)]
    pub fn place(&mut self, seq: u32, len: u32) -> Place {
        self.begin(seq);
        let ahead = seq.wrapping_sub(self.next) as i32;
        let behind = ahead.unsigned_abs();
        if ahead > 0 || behind > WINDOW {
            return if self.is_early(seq, len) { Place::Known } else { Place::Ahead(ahead as u32) };
        }
        if behind >= len {
            return Place::Known;
        }
        Place::Next { from: behind, len: (len - behind).min(self.room()) }
    }

    /// Goes on behind `len` bytes that [`Self::place`] called the next ones.
    #[inline(always)]
    pub fn take(&mut self, len: u32) {
        self.next = self.next.wrapping_add(len);
        if self.flags & EARLY != 0 {
            self.absorb();
        }
    }

    /// Notes that a segment with bytes missing before it has been metered. False: there is no room for
    /// that, and it must not be.
    #[inline(always)]
    pub fn take_early(&mut self, seq: u32, len: u32) -> bool {
        let end = seq.wrapping_add(len);
        let mut place = None;
        let mut i = 0;
        while i < RUNS {
            let run = self.early[i];
            if run[0] == run[1] || run[1] == seq || run[0] == end {
                // A run that goes on is better than a new one.
                if place.is_none() || run[0] != run[1] {
                    place = Some(i);
                }
            } else if before(seq, run[1]) && before(run[0], end) {
                return false;
            }
            i += 1;
        }
        let Some(place) = place else { return false };
        let run = &mut self.early[place & (RUNS - 1)];
        *run = if run[0] == run[1] {
            [seq, end]
        } else if run[1] == seq {
            [run[0], end]
        } else {
            [seq, run[1]]
        };
        self.flags |= EARLY;
        true
    }

    /// Goes on at `seq`, whatever is missing before it, or behind the run that `seq` lies in. Returns how
    /// many bytes were never metered.
    #[inline(always)]
    pub fn bridge(&mut self, seq: u32) -> u32 {
        let (mut lost, mut next) = (seq.wrapping_sub(self.next), seq);
        let mut i = 0;
        while i < RUNS {
            let run = self.early[i];
            if run[0] != run[1] && before(run[0], seq) {
                let end = if before(run[1], seq) { run[1] } else { seq };
                lost = lost.wrapping_sub(end.wrapping_sub(run[0]));
                if before(next, run[1]) {
                    next = run[1];
                }
                self.early[i] = [0, 0];
            }
            i += 1;
        }
        self.next = next;
        self.absorb();
        lost
    }

    /// Bytes between what has been metered and `seq`; 0 where nothing has passed or `seq` lies behind.
    #[inline(always)]
    pub fn missing(&self, seq: u32) -> u32 {
        let ahead = seq.wrapping_sub(self.next) as i32;
        if self.flags & SEEN == 0 || ahead < 0 { 0 } else { ahead as u32 }
    }

    /// Notes where the stream ends: a FIN has come.
    #[inline(always)]
    pub fn ends_at(&mut self, seq: u32) {
        self.end = seq;
        self.flags |= ENDS;
    }

    /// True once every byte up to the noted end has passed.
    #[inline(always)]
    pub fn is_over(&self) -> bool {
        self.flags & ENDS != 0 && self.next == self.end
    }

    /// True where a segment lies within what was metered before its turn.
    #[inline(always)]
    fn is_early(&self, seq: u32, len: u32) -> bool {
        let end = seq.wrapping_add(len);
        let mut i = 0;
        while i < RUNS {
            let run = self.early[i];
            if run[0] != run[1] && !before(seq, run[0]) && !before(run[1], end) {
                return true;
            }
            i += 1;
        }
        false
    }

    /// Bytes until the nearest run.
    #[inline(always)]
    fn room(&self) -> u32 {
        let mut room = u32::MAX;
        let mut i = 0;
        while i < RUNS {
            let run = self.early[i];
            let distance = run[0].wrapping_sub(self.next);
            if run[0] != run[1] && distance < room {
                room = distance;
            }
            i += 1;
        }
        room
    }

    /// Goes on behind the runs that begin where the stream stands.
    #[inline(always)]
    fn absorb(&mut self) {
        let mut left = 0;
        let mut round = 0;
        while round < RUNS {
            left = 0;
            let mut i = 0;
            while i < RUNS {
                let run = self.early[i];
                if run[0] != run[1] {
                    if run[0] == self.next {
                        self.next = run[1];
                        self.early[i] = [0, 0];
                    } else {
                        left += 1;
                    }
                }
                i += 1;
            }
            round += 1;
        }
        if left == 0 {
            self.flags &= !EARLY;
        }
    }
}

/// True where `a` comes before `b`.
#[inline(always)]
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn segments_in_order_are_the_next_ones() {
        let mut order = Order::default();
        assert_eq!(order.place(u32::MAX - 4, 10), Place::Next { from: 0, len: 10 });
        order.take(10);
        assert!(order.is_next(5));
        order.take_next(3);
        assert!(!order.is_next(5));
        assert_eq!(order.place(u32::MAX - 4, 10), Place::Known);
        assert_eq!(order.place(6, 4), Place::Next { from: 2, len: 2 });
        assert_eq!(order.place(100, 1), Place::Ahead(92));
    }

    #[test]
    fn an_early_run_counts_once() {
        let mut order = Order::default();
        order.place(0, 10);
        order.take(10);
        assert_eq!(order.place(20, 5), Place::Ahead(10));
        assert!(order.take_early(20, 5));
        assert!(order.take_early(25, 5));
        assert_eq!(order.place(20, 10), Place::Known);
        // The missing bytes come again together with what was early.
        assert_eq!(order.place(10, 15), Place::Next { from: 0, len: 10 });
        order.take(10);
        assert_eq!(order.missing(30), 0);
        assert_eq!(order.place(30, 1), Place::Next { from: 0, len: 1 });
    }

    #[test]
    fn runs_that_were_early_are_not_lost() {
        let mut order = Order::default();
        order.place(0, 10);
        order.take(10);
        assert!(order.take_early(20, 5));
        assert_eq!(order.bridge(40), 25);
        assert_eq!(order.place(40, 1), Place::Next { from: 0, len: 1 });
    }

    #[test]
    fn the_end_waits_for_what_is_before_it() {
        let mut order = Order::default();
        order.place(0, 10);
        order.take(10);
        order.ends_at(15);
        assert!(!order.is_over());
        // The end waits for it: that is looked at behind the segment.
        assert!(!order.is_next(10));
        order.place(10, 5);
        order.take(5);
        assert!(order.is_over());
    }

    proptest! {
        /// Segments of a stream of 4,000 bytes pass in any order, cut anyhow, some of them often, as TCP's
        /// receiver sees them; `early` says which of those ahead can be metered. Every byte counts once.
        #[test]
        fn every_byte_is_metered_once_or_counted_as_lost(
            start in any::<u32>(),
            segments in vec((0u32..4000, 1u32..600, any::<bool>()), 1..80),
        ) {
            let mut order = Order::default();
            let mut metered = vec![0u32; 5000];
            let (mut received, mut lost) = (vec![false; 5000], 0u32);
            // The first segment tells where the stream begins.
            prop_assert_eq!(order.place(start, 1), Place::Next { from: 0, len: 1 });
            order.take(1);
            metered[0] = 1;
            received[0] = true;
            for (at, len, may_be_early) in segments {
                let next = received.iter().position(|seen| !seen).unwrap() as u32;
                let seq = start.wrapping_add(at);
                let mut place = order.place(seq, len);
                if let Place::Ahead(_) = place && next >= at {
                    lost += order.bridge(seq);
                    place = order.place(seq, len);
                }
                match place {
                    Place::Next { from, len } => {
                        metered[(at + from) as usize..(at + from + len) as usize].iter_mut().for_each(|n| *n += 1);
                        order.take(len);
                    }
                    Place::Ahead(_) if may_be_early && order.take_early(seq, len) => {
                        metered[at as usize..(at + len) as usize].iter_mut().for_each(|n| *n += 1);
                    }
                    Place::Ahead(_) | Place::Known => {}
                }
                received[at as usize..(at + len) as usize].fill(true);
            }
            prop_assert!(metered.iter().all(|n| *n <= 1));
            // What TCP has in order was metered or is lost, and no byte is both.
            let next = received.iter().position(|seen| !seen).unwrap();
            let end = start.wrapping_add(next as u32);
            if order.missing(end) > 0 {
                lost += order.bridge(end);
            }
            prop_assert_eq!(metered[..next].iter().sum::<u32>() + lost, next as u32);
        }
    }
}
