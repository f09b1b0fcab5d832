//! The last windows of one signal, and the middle and the spread of them, which a few outliers do not move.
//!
//! Must never: grow, or give a spread of nothing: what was always the same may still change a little.

/// Windows that are kept: two hours of minutes.
pub(super) const LENGTH: usize = 120;
/// Values after which the middle is reckoned again: of 120 values, so few move it little.
const FRESH: usize = 8;
/// What makes the median absolute deviation of a normal distribution its standard deviation.
const NORMAL: f32 = 1.4826;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct History {
    values: Vec<f32>,
    next: usize,
    /// As last asked for, and how many values came since then.
    middle: Option<(f32, f32)>,
    since: usize,
}

impl History {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Adds a value; the oldest goes where there is no room.
    pub(super) fn push(&mut self, value: f32) {
        if self.values.len() < LENGTH {
            self.values.push(value);
        } else {
            self.values[self.next] = value;
        }
        self.next = (self.next + 1) % LENGTH;
        self.since += 1;
    }

    /// The median and the spread around it, at most [`FRESH`] values old; `None` where there is nothing yet.
    pub(super) fn middle(&mut self) -> Option<(f32, f32)> {
        if self.middle.is_none() || self.since > FRESH {
            (self.middle, self.since) = (self.reckon(), 0);
        }
        self.middle
    }

    fn reckon(&self) -> Option<(f32, f32)> {
        let mut values = self.values.clone();
        let median = median(&mut values)?;
        for value in &mut values {
            *value = (*value - median).abs();
        }
        Some((median, self::median(&mut values)? * NORMAL))
    }
}

fn median(values: &mut [f32]) -> Option<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f32::midpoint(*low, *high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Option<(f32, f32)> {
        let mut history = History::default();
        values.iter().for_each(|value| history.push(*value));
        history.middle()
    }

    #[test]
    fn outliers_move_neither_the_middle_nor_the_spread() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[2.0]), Some((2.0, 0.0)));
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]), Some((2.5, 1.0 * NORMAL)));
        let (middle, spread) = of(&[1.0, 1.1, 0.9, 1.0, 1.1, 0.9, 1_000.0, -1_000.0, 1.0]).unwrap();
        assert!((middle - 1.0).abs() < 1e-6 && (spread - 0.1 * NORMAL).abs() < 1e-3, "{middle} {spread}");
    }

    #[test]
    fn the_oldest_goes() {
        let mut history = History::default();
        (0..LENGTH * 2).for_each(|value| history.push(value as f32));
        assert_eq!(history.len(), LENGTH);
        let middle = history.middle().unwrap().0;
        assert!((middle - (LENGTH as f32 * 1.5 - 0.5)).abs() < 1e-3, "{middle}");
    }
}
