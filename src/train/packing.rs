//! `packing`: samples put together up to `cutoff_len`, as LLaMA-Factory's `greedy_knapsack` chooses and orders them
//! (`data/processor/processor_utils.py`, `supervised.py`).

/// Packs of the samples of `lengths` (tokens), each of at most `capacity`, among `batch` samples that follow one
/// another at a time. Within a pack the longest sample comes first; of equally long ones, the last in the data.
/// A sample above the capacity is left out, as there.
///
/// LLaMA-Factory cuts the data into `preprocessing_num_workers` parts first; that it has one is assumed here, so
/// that packs do not depend on the number of threads.
pub fn packs(lengths: &[usize], capacity: usize, batch: usize) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for (i, part) in lengths.chunks(batch.max(1)).enumerate() {
        let mut rest: Vec<(usize, usize)> = part.iter().copied().zip(i * batch..).collect();
        rest.retain(|(length, _)| *length <= capacity);
        // Python sorts lengths and takes the last place of each: sorting pairs is the same.
        rest.sort_unstable();
        while !rest.is_empty() {
            all.push(pack(&mut rest, capacity));
        }
    }
    all
}

/// Takes the longest sample that still fits, until none does.
fn pack(rest: &mut Vec<(usize, usize)>, capacity: usize) -> Vec<usize> {
    let (mut left, mut pack) = (capacity, Vec::new());
    loop {
        let fitting = rest.partition_point(|(length, _)| *length <= left);
        if fitting == 0 {
            return pack;
        }
        let (length, place) = rest.remove(fitting - 1);
        left -= length;
        pack.push(place);
    }
}
