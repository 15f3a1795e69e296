//! numpy's random numbers, which decide in LLaMA-Factory what `val_size` holds out (`default_rng(seed).permutation`),
//! from which data set the next sample comes (`choice`), and which rows `num_samples` draws (`np.random`).
//!
//! `SeedSequence` (numpy `bit_generator.pyx`), PCG64 XSL-RR (O'Neill, HMC-CS-2014-0905), the shuffle with masked
//! rejection of `Generator.shuffle`; the legacy functions on mt19937 (`mtrand.pyx`).

use rand_mt::Mt;

/// The numbers from 0 below `n` in numpy's shuffled order.
pub fn permutation(n: usize, seed: u64) -> Vec<usize> {
    let mut rng = Pcg64::new(seed);
    let mut all: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        all.swap(i, rng.up_to(i as u32) as usize);
    }
    all
}

/// The global generator of `np.random` after `np.random.seed(seed)`, of which 32 bits count.
pub struct RandomState(Mt);

impl RandomState {
    pub fn new(seed: u64) -> Self {
        Self(Mt::new(seed as u32))
    }

    /// `np.random.permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            all.swap(i, self.up_to(i as u32) as usize);
        }
        all
    }

    /// `np.random.choice(n, count)`: with replacement.
    ///
    /// # Panics
    /// `n` is 0.
    pub fn choice(&mut self, n: usize, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.up_to((n - 1) as u32) as usize).collect()
    }

    fn up_to(&mut self, max: u32) -> u32 {
        masked(max, || self.0.next_u32())
    }
}

/// `default_rng(seed).choice(n, p=probs)`, one after another. The places come from blocks of any size alike.
pub struct Choices {
    rng: Pcg64,
    /// Sums of the probabilities up to each place, the last of them 1.
    sums: Vec<f64>,
}

impl Choices {
    pub fn new(probs: &[f64], seed: u64) -> Self {
        let mut sums: Vec<f64> = probs
            .iter()
            .scan(0.0, |sum, p| {
                *sum += p;
                Some(*sum)
            })
            .collect();
        let whole = sums.last().copied().unwrap_or(1.0);
        sums.iter_mut().for_each(|sum| *sum /= whole);
        Self { rng: Pcg64::new(seed), sums }
    }

    pub fn draw(&mut self) -> usize {
        // `next_double`: 53 bits.
        let drawn = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        self.sums.partition_point(|sum| *sum <= drawn)
    }
}

/// Uniform in 0..=max: masked draws until one fits.
fn masked(max: u32, mut draw: impl FnMut() -> u32) -> u32 {
    if max == 0 {
        return 0;
    }
    let mask = u32::MAX >> max.leading_zeros();
    loop {
        let drawn = draw() & mask;
        if drawn <= max {
            return drawn;
        }
    }
}

struct Pcg64 {
    state: u128,
    increment: u128,
    /// The upper half of the last 64 bits, still to be used.
    half: Option<u32>,
}

impl Pcg64 {
    const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

    fn new(seed: u64) -> Self {
        let w = seed_words(seed);
        let pair = |i: usize| u128::from(w[i]) << 64 | u128::from(w[i + 1]);
        let mut rng = Self { state: 0, increment: pair(2) << 1 | 1, half: None };
        rng.step();
        rng.state = rng.state.wrapping_add(pair(0));
        rng.step();
        rng
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(Self::MULTIPLIER).wrapping_add(self.increment);
    }

    fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(upper) = self.half.take() {
            return upper;
        }
        let both = self.next_u64();
        self.half = Some((both >> 32) as u32);
        both as u32
    }

    fn up_to(&mut self, max: u32) -> u32 {
        masked(max, || self.next_u32())
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`.
fn seed_words(seed: u64) -> [u64; 4] {
    let mut hash = 0x43b0_d7e5u32;
    let mut hashed = |value: u32| {
        let value = value ^ hash;
        hash = hash.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(hash);
        value ^ value >> 16
    };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(&mut hashed);
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from) {
            let mixed = 0xca01_f9ddu32
                .wrapping_mul(pool[to])
                .wrapping_sub(0x4973_f715u32.wrapping_mul(hashed(pool[from])));
            pool[to] = mixed ^ mixed >> 16;
        }
    }
    let mut hash = 0x8b51_f9ddu32;
    let words: [u32; 8] = std::array::from_fn(|i| {
        let value = pool[i % 4] ^ hash;
        hash = hash.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(hash);
        value ^ value >> 16
    });
    std::array::from_fn(|i| u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32)
}
