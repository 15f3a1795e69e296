//! Products of sorted rows with their expert's matrix, composed of batched products for devices with launch costs.
//!
//! One product per expert would be a launch each, 128 times a layer. Experts with about as many rows share a
//! batch instead: each is padded to the next power of two, and all of the same size are one batched product.

use super::rows::gather;
use burn::tensor::{Int, Tensor, TensorData};
use std::collections::BTreeMap;
use std::ops::Range;

/// Rows of the smallest batch: below it padding costs less than another launch.
const SMALLEST: usize = 16;

/// Rows `groups[e]` of x [N, in] · w[e]ᵀ, w [E, out, in]; with `transposed` x · w[e] for x [N, out].
pub fn grouped_linear(x: &Tensor<2>, w: &Tensor<3>, groups: &[Range<usize>], transposed: bool) -> Tensor<2> {
    let [_, out, inp] = w.dims();
    let (depth, width) = if transposed { (out, inp) } else { (inp, out) };
    let mut place = vec![0; x.dims()[0]];
    let (mut parts, mut at) = (Vec::new(), 0);
    for (size, experts) in by_size(groups) {
        // 1. The experts' rows, padded by repeating the first one: (experts · size, depth)
        let mut rows = Vec::with_capacity(experts.len() * size);
        for &e in &experts {
            let g = groups[e].clone();
            g.clone().for_each(|row| place[row] = at + rows.len() + row - g.start);
            rows.extend(g.clone().chain(std::iter::repeat_n(g.start, size - g.len())));
        }
        let batch = gather(x, &rows).reshape([experts.len(), size, depth]);
        // 2. One batched product: (experts, size, width)
        let m = matrices(w, &experts);
        let m = if transposed { m } else { m.swap_dims(1, 2) };
        parts.push(batch.matmul(m).reshape([experts.len() * size, width]));
        at += rows.len();
    }
    // 3. Back into the order of x, without the padding
    gather(&Tensor::cat(parts, 0), &place)
}

/// Experts that have rows, by the power of two their number of rows fits into.
fn by_size(groups: &[Range<usize>]) -> BTreeMap<usize, Vec<usize>> {
    let mut sizes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (e, g) in groups.iter().enumerate().filter(|(_, g)| !g.is_empty()) {
        sizes.entry(g.len().next_power_of_two().max(SMALLEST)).or_default().push(e);
    }
    sizes
}

/// The matrices of some experts; neighbours are a view.
fn matrices(w: &Tensor<3>, experts: &[usize]) -> Tensor<3> {
    let (first, last) = (experts[0], experts[experts.len() - 1]);
    if last - first + 1 == experts.len() {
        return w.clone().slice([first..last + 1]);
    }
    let ids: Vec<i32> = experts.iter().map(|&e| e as i32).collect();
    let ids: Tensor<1, Int> = Tensor::from_data(TensorData::new(ids, [experts.len()]), &w.device());
    w.clone().select(0, ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ops::rows;
    use burn::tensor::{Device, Distribution};

    /// Sizes from nothing to past a power of two, neighbours and not, both directions, against one product each.
    #[test]
    fn agrees_with_one_product_per_expert() {
        let device = Device::flex();
        let counts = [3usize, 0, 16, 17, 40, 1, 0, 33];
        let mut at = 0;
        let groups: Vec<_> = counts
            .iter()
            .map(|n| {
                at += n;
                at - n..at
            })
            .collect();
        let w = Tensor::<3>::random([8, 6, 10], Distribution::Default, &device);
        for (depth, transposed) in [(10, false), (6, true)] {
            let x = Tensor::<2>::random([at, depth], Distribution::Default, &device);
            let want = rows::grouped_linear(&x, &w, &groups, transposed);
            let error = (grouped_linear(&x, &w, &groups, transposed) - want).abs().max().into_scalar::<f32>();
            assert!(error < 1e-5, "transposed {transposed}: {error}");
        }
    }
}
