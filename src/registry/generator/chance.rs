//! Chance that can be repeated: SplitMix64, the same on every machine and in every version.

/// A stream of numbers that depends on its start only.
pub(super) struct Chance(u64);

impl Chance {
    /// Starts the stream of one person of one population.
    pub(super) fn of(seed: u64, index: u64) -> Self {
        let mut start = Self(seed);
        let seed = start.next();
        let mut mixed = Self(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        mixed.next();
        mixed
    }

    /// Draws 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Picks below `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let scaled = (u128::from(self.next()) * u128::from(bound)) >> 64;
        u32::try_from(scaled).unwrap_or(0)
    }

    /// Picks from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = u32::try_from(high - low + 1).unwrap_or(1).max(1);
        low + i32::try_from(self.below(span)).unwrap_or(0)
    }

    /// Says yes this many times in a thousand.
    pub(super) fn permille(&mut self, permille: u32) -> bool {
        self.below(1_000) < permille
    }

    /// Picks one of a list, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(u32::try_from(list.len()).unwrap_or(1)) as usize]
    }

    /// Picks one of a list by weight.
    pub(super) fn weighed<'l, T>(&mut self, list: &'l [(T, u32)]) -> &'l T {
        let total = list.iter().map(|(_, weight)| weight).sum();
        let mut left = self.below(total);
        let chosen = list.iter().find(|(_, weight)| match left.checked_sub(*weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        &chosen.unwrap_or(&list[0]).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // Reference values of SplitMix64 for seed 1234567.
        let mut chance = Chance(1_234_567);
        assert_eq!(chance.next(), 6_457_827_717_110_365_317);
        assert_eq!(chance.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn picks_stay_in_bounds_and_follow_weights() {
        let mut chance = Chance::of(1, 2);
        let list = [("rare", 10), ("often", 990)];
        let rare = (0..10_000).filter(|_| *chance.weighed(&list) == "rare").count();
        assert!((50..200).contains(&rare), "{rare}");
        assert!((0..1_000).all(|_| (3..=5).contains(&chance.between(3, 5))));
    }
}
