//! What windows gather most often, and how two sessions become one.
//!
//! Must never: depend on the order of what is added.

use serde::{Deserialize, Serialize};

/// What can become one with another of its kind, as sessions do when a record closes the pause between them.
pub trait Merge {
    /// Takes in what the other gathered.
    fn merge(&mut self, other: Self);
}

impl Merge for u64 {
    fn merge(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

impl Merge for i64 {
    fn merge(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

/// Number, sum, smallest and largest of whole numbers: the same in whatever order they come.
///
/// ```
/// use bulkhead_sdk::window::Stats;
///
/// let mut delays = Stats::default();
/// for minutes in [4, -2, 10] {
///     delays.add(minutes);
/// }
/// assert_eq!((delays.count, delays.sum, delays.min, delays.max), (3, 12, Some(-2), Some(10)));
/// assert_eq!(delays.mean(), Some(4.0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// How many.
    pub count: u64,
    /// Their sum, which 128 bits always hold.
    pub sum: i128,
    /// The smallest; `None` of none.
    pub min: Option<i64>,
    /// The largest; `None` of none.
    pub max: Option<i64>,
}

impl Stats {
    /// Takes in a number.
    #[inline]
    pub fn add(&mut self, number: i64) {
        self.count += 1;
        self.sum += i128::from(number);
        self.min = Some(self.min.map_or(number, |min| min.min(number)));
        self.max = Some(self.max.map_or(number, |max| max.max(number)));
    }

    /// The mean; `None` of none.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }
}

impl Merge for Stats {
    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = [self.min, other.min].into_iter().flatten().min();
        self.max = [self.max, other.max].into_iter().flatten().max();
    }
}
