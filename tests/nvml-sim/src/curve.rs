//! A quantity over time, in steps.

use serde::{Deserialize, Serialize};

/// A value that holds from each point in time to the next; times are seconds since the scenario's start. Written as a number
/// where it never changes, else as a list of `[seconds, value]` in order of time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Curve {
    /// The same at all times.
    Constant(f64),
    /// Points in order of time; before the first one its value holds too.
    Steps(Vec<(f64, f64)>),
}

impl Default for Curve {
    fn default() -> Self {
        Self::Constant(0.0)
    }
}

impl Curve {
    /// The value at a time.
    pub fn at(&self, time: f64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Steps(points) => {
                let held = points.iter().take_while(|(from, _)| *from <= time).last();
                held.or(points.first()).map_or(0.0, |(_, value)| *value)
            }
        }
    }

    /// The integral from 0 to a time.
    pub fn integral(&self, time: f64) -> f64 {
        let Self::Steps(points) = self else { return self.at(0.0) * time };
        let mut sum = 0.0;
        for (place, (from, value)) in points.iter().enumerate() {
            let begin = if place == 0 { 0.0 } else { from.max(0.0) };
            let end = points.get(place + 1).map_or(time, |(next, _)| next.min(time));
            sum += value * (end - begin).max(0.0);
        }
        sum
    }

    /// The mean over a stretch of time; the value at its end where it has no length.
    pub fn mean(&self, from: f64, to: f64) -> f64 {
        if to > from { (self.integral(to) - self.integral(from)) / (to - from) } else { self.at(to) }
    }

    /// Another value from a time on; what was before stays.
    pub fn set(&mut self, time: f64, value: f64) {
        let mut points = match std::mem::take(self) {
            Self::Constant(constant) => vec![(0.0, constant)],
            Self::Steps(points) => points,
        };
        points.retain(|(from, _)| *from < time);
        points.push((time, value));
        *self = Self::Steps(points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_hold_until_the_next_one() {
        let curve = Curve::Steps(vec![(0.0, 10.0), (5.0, 30.0)]);
        assert_eq!((curve.at(-1.0), curve.at(4.9), curve.at(5.0), curve.at(99.0)), (10.0, 10.0, 30.0, 30.0));
        assert_eq!(curve.integral(7.0), 10.0 * 5.0 + 30.0 * 2.0);
        assert_eq!(curve.mean(4.0, 6.0), 20.0);
    }

    #[test]
    fn a_change_leaves_the_past_alone() {
        let mut curve = Curve::Constant(10.0);
        curve.set(3.0, 50.0);
        assert_eq!(curve.integral(3.0), 30.0);
        assert_eq!(curve.integral(4.0), 80.0);
        curve.set(3.5, 0.0);
        assert_eq!(curve.integral(10.0), 55.0);
    }
}
