//! The order of samples: torch's `randperm` from a generator seeded with seed + epoch, as accelerate's
//! `SeedableRandomSampler` draws it, so that a run can be replayed against LLaMA-Factory.

use crate::config::steps::held_out;
use rand_mt::Mt;

/// Places of all `n` samples in the order of `epoch` (from 0). Without `shuffle` as they are in the file.
pub fn order(n: usize, seed: u64, epoch: usize, shuffle: bool) -> Vec<usize> {
    if shuffle { randperm(n, seed.wrapping_add(epoch as u64)) } else { (0..n).collect() }
}

/// torch 2.11 on the CPU: mt19937 seeded with the low 32 bits; for each i, swap i with i + u32 mod (n − i).
fn randperm(n: usize, seed: u64) -> Vec<usize> {
    let mut rng = Mt::new(seed as u32);
    let mut all: Vec<usize> = (0..n).collect();
    for i in 0..n.saturating_sub(1) {
        let z = rng.next_u32() as usize % (n - i);
        all.swap(i, i + z);
    }
    all
}

/// Places for training and for evaluation: `val_size` of `n` held out by seed, as `train_test_split` of the
/// `datasets` library (which LLaMA-Factory calls) picks and orders them.
pub fn val_split(n: usize, val_size: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let held = held_out(val_size, n).min(n.saturating_sub(1));
    let mut eval = crate::data::numpy::permutation(n, seed);
    let train = eval.split_off(held);
    (train, eval)
}
