//! numpy's `default_rng(seed).permutation(n)`, which decides what `val_size` holds out in LLaMA-Factory.
//!
//! `SeedSequence` (numpy `bit_generator.pyx`), PCG64 XSL-RR (O'Neill, HMC-CS-2014-0905), and the shuffle with
//! masked rejection of `Generator.shuffle`.

/// The numbers from 0 below `n` in numpy's shuffled order.
pub fn permutation(n: usize, seed: u64) -> Vec<usize> {
    let mut rng = Pcg64::new(seed);
    let mut all: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        all.swap(i, rng.up_to(i as u32) as usize);
    }
    all
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

    /// Uniform in 0..=max: masked draws until one fits.
    fn up_to(&mut self, max: u32) -> u32 {
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let drawn = self.next_u32() & mask;
            if drawn <= max {
                return drawn;
            }
        }
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
