//! SplitMix64, a generator with the same numbers on every machine and in every version, so that a
//! seed can be repeated.

use std::time::Duration;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Returns a number from 0 up to, but not including, 1.
    pub(super) fn fraction(&mut self) -> f64 {
        as_fraction(self.next())
    }

    /// Returns a number from 1 to `most`, or 1 if `most` is 0.
    pub(super) fn count(&mut self, most: u32) -> u32 {
        let count = self.next() % u64::from(most.max(1)) + 1;
        u32::try_from(count).unwrap_or(most)
    }

    /// Returns a delay of up to `longest`, in whole milliseconds.
    pub(super) fn delay(&mut self, longest: Duration) -> Duration {
        let most = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.next() % most.saturating_add(1))
    }
}

/// Returns this user's place between 0 and 1, which depends only on the id and the seed.
pub(super) fn place_of(id: &str, seed: u64) -> f64 {
    let hash = id.bytes().fold(mix(seed ^ STEP), |hash, byte| mix(hash ^ u64::from(byte)));
    as_fraction(hash)
}

fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Converts the upper 53 bits, which is the precision of a float.
fn as_fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
