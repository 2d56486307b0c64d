//! Numbers that look random and are the same on every machine: runs can be compared, a store can be filled again.

/// A sequence that its seed decides (SplitMix64).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The sequence of one of the things that a seed makes.
    #[must_use]
    pub fn of(seed: u64, number: u64) -> Self {
        let mut draw = Self(seed);
        let salt = draw.bits();
        Self(salt ^ number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The sequence of one of the streams of a connection.
    #[must_use]
    pub fn of_stream(seed: u64, connection: usize, stream: u16) -> Self {
        Self::of(seed, connection as u64 * 1_000_000 + u64::from(stream))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is below 2^-40 for every bound that occurs here.
        self.bits().checked_rem(bound).unwrap_or(0)
    }

    /// A number from one to another, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// Whether something of so many per cent happens.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// From 0 to 1, 1 excluded.
    pub fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An index of a list of this length; 0 if it is empty.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One of a list.
    ///
    /// # Panics
    ///
    /// If the list is empty.
    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.index(list.len())]
    }

    /// Puts a list into an order of its own.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.index(last + 1));
        }
    }
}

/// Which of a number of things is next: all alike, or the first ones far more often than the last.
#[derive(Debug, Clone)]
pub struct Odds {
    /// For each thing how likely it or one before it is.
    up_to: Vec<f64>,
}

impl Odds {
    /// Zipf's: the thing of rank `r` comes `r^-exponent` as often as the first. With exponent 0 all come alike.
    #[must_use]
    pub fn zipf(things: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = Vec::with_capacity(things);
        for rank in 1..=things {
            sum += (rank as f64).powf(-exponent);
            up_to.push(sum);
        }
        up_to.iter_mut().for_each(|share| *share /= sum);
        Self { up_to }
    }

    /// The index of the next one.
    pub fn next(&self, draw: &mut Draw) -> usize {
        let at = draw.fraction();
        self.up_to.partition_point(|share| *share <= at).min(self.up_to.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_sequence() {
        let bits = |mut draw: Draw| (0..5).map(|_| draw.bits()).collect::<Vec<_>>();
        assert_eq!(bits(Draw::of(7, 3)), bits(Draw::of(7, 3)));
        assert_ne!(bits(Draw::of(7, 3)), bits(Draw::of(7, 4)));
        assert_ne!(bits(Draw::of(7, 3)), bits(Draw::of(8, 3)));
    }

    #[test]
    fn by_zipf_the_first_comes_most_and_everything_comes() {
        let count = |exponent| {
            let (odds, mut draw, mut counts) = (Odds::zipf(10, exponent), Draw::new(1), [0_u32; 10]);
            (0..10_000).for_each(|_| counts[odds.next(&mut draw)] += 1);
            counts
        };
        let zipf = count(0.99);
        assert!(zipf[0] > 3 * zipf[4] && zipf[4] > zipf[9] && zipf[9] > 0, "{zipf:?}");
        let uniform = count(0.0);
        assert!(uniform.iter().all(|count| (800..1200).contains(count)), "{uniform:?}");
    }

    #[test]
    fn a_shuffled_list_has_the_same_things() {
        let mut list: Vec<u32> = (0..100).collect();
        Draw::new(2).shuffle(&mut list);
        assert_ne!(list, (0..100).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..100).collect::<Vec<_>>());
    }
}
