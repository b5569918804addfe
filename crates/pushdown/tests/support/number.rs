//! Exact numbers.

use std::cmp::Ordering;

/// What a rounded number is a multiple of: the part of one that this is.
const ONE: i128 = 1_000_000_000_000;

/// A fraction in lowest terms, with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    above: i128,
    below: i128,
}

impl Number {
    pub fn new(above: i128, below: i128) -> Self {
        let (mut a, mut b) = (above.abs(), below.abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = a.max(1) * below.signum();
        Self { above: above / divisor, below: below / divisor }
    }

    /// What is written with digits, a sign and a point.
    pub fn of(text: &str) -> Self {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits: i128 = format!("{whole}{part}").parse().unwrap_or_else(|_| panic!("a number: {text:?}"));
        Self::new(digits, 10_i128.pow(part.len() as u32))
    }

    /// As it is after a division: PostgreSQL rounds a quotient, to more digits than these.
    pub fn rounded(self) -> Self {
        let half = if self.above < 0 { -self.below / 2 } else { self.below / 2 };
        Self::new((self.above * ONE + half) / self.below, ONE)
    }

    /// Its digits.
    pub fn decimal(self) -> String {
        let parts = self.rounded().times(Self::new(ONE, 1)).above;
        let sign = if parts < 0 { "-" } else { "" };
        format!("{sign}{}.{:012}", parts.abs() / ONE, parts.abs() % ONE)
    }

    pub fn float(self) -> f64 {
        self.above as f64 / self.below as f64
    }

    pub fn plus(self, other: Self) -> Self {
        Self::new(self.above * other.below + other.above * self.below, self.below * other.below)
    }

    pub fn negated(self) -> Self {
        Self { above: -self.above, ..self }
    }

    pub fn times(self, other: Self) -> Self {
        Self::new(self.above * other.above, self.below * other.below)
    }

    pub fn by(self, other: Self) -> Option<Self> {
        (other.above != 0).then(|| Self::new(self.above * other.below, self.below * other.above))
    }

    /// Without what is behind the point.
    pub fn cut(self) -> Self {
        Self::new(self.above / self.below, 1)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.above * other.below).cmp(&(other.above * self.below))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
