//! Keys and values of the tokens seen so far: fixed slots, so that sequences of any length share one batch.

use super::ops::{self, Segment, rows};
use burn::tensor::{DType, Device, Tensor};

/// Per layer, keys and values of `slots` sequences of at most `capacity` tokens.
pub struct KvCache {
    /// [slots · capacity, kv_heads · d] each; `None` only while a layer is being written.
    layers: Vec<Option<(Tensor<2>, Tensor<2>)>>,
    kv_heads: usize,
    capacity: usize,
    /// Tokens in each slot.
    pub lengths: Vec<usize>,
}

/// Where the new tokens of one forward pass go, and what each of them sees.
pub struct Place {
    rows: Vec<usize>,
    segments: Vec<Segment>,
}

impl KvCache {
    pub fn new(
        layers: usize,
        slots: usize,
        capacity: usize,
        (kv_heads, d): (usize, usize),
        dtype: DType,
        device: &Device,
    ) -> Self {
        let empty = || Tensor::<2>::zeros([slots * capacity, kv_heads * d], (device, dtype));
        let layers = (0..layers).map(|_| Some((empty(), empty()))).collect();
        Self { layers, kv_heads, capacity, lengths: vec![0; slots] }
    }

    /// Takes room for `new` tokens per (slot, count), in this order; to be followed by one forward pass.
    ///
    /// # Panics
    /// When a slot would grow past its capacity.
    pub fn extend(&mut self, new: &[(usize, usize)]) -> Place {
        let (mut all, mut segments, mut at) = (Vec::new(), Vec::new(), 0);
        for &(slot, count) in new {
            let (first, len) = (slot * self.capacity, self.lengths[slot]);
            assert!(len + count <= self.capacity, "slot {slot} is full");
            all.extend(first + len..first + len + count);
            segments.push(Segment { q: at..at + count, k: first..first + len + count });
            self.lengths[slot] += count;
            at += count;
        }
        Place { rows: all, segments }
    }

    /// Empties a slot for the next sequence.
    pub fn clear(&mut self, slot: usize) {
        self.lengths[slot] = 0;
    }

    /// Forgets all but the first `len` tokens of a slot.
    pub fn truncate(&mut self, slot: usize, len: usize) {
        self.lengths[slot] = self.lengths[slot].min(len);
    }

    /// Makes slot `to` hold what the first `len` tokens of slot `from` are.
    pub fn copy(&mut self, from: usize, to: usize, len: usize) {
        let rows = from * self.capacity..from * self.capacity + len;
        let there: Vec<usize> = (to * self.capacity..to * self.capacity + len).collect();
        for layer in &mut self.layers {
            let Some((k, v)) = layer.take() else { continue };
            let (some_k, some_v) = (k.clone().slice([rows.clone()]), v.clone().slice([rows.clone()]));
            *layer = Some((rows::write(k, &there, &some_k), rows::write(v, &there, &some_v)));
        }
        self.lengths[to] = len;
    }

    /// Writes the new keys and values of a layer, then attends. q [T, heads, d], k and v [T, kv_heads, d].
    pub(super) fn attend(
        &mut self,
        layer: usize,
        place: &Place,
        q: &Tensor<3>,
        k: Tensor<3>,
        v: Tensor<3>,
    ) -> Tensor<3> {
        let d = q.dims()[2];
        let width = self.kv_heads * d;
        let t = place.rows.len();
        let (keys, values) = self.layers[layer].take().expect("put back below");
        let keys = rows::write(keys, &place.rows, &k.reshape([t, width]));
        let values = rows::write(values, &place.rows, &v.reshape([t, width]));
        let n = keys.dims()[0];
        let as_heads = |x: &Tensor<2>| x.clone().reshape([n, self.kv_heads, d]);
        let o = ops::attention_saved(q, &as_heads(&keys), &as_heads(&values), &place.segments, true).o;
        self.layers[layer] = Some((keys, values));
        o
    }

    /// Copies every slot of a smaller cache into this one.
    pub fn take_over(&mut self, old: &KvCache) {
        for (slot, &len) in old.lengths.iter().enumerate() {
            let from = slot * old.capacity..slot * old.capacity + len;
            let to: Vec<usize> = (slot * self.capacity..slot * self.capacity + len).collect();
            for (new, old) in self.layers.iter_mut().zip(&old.layers) {
                let (Some((k, v)), Some((ok, ov))) = (new.take(), old) else { continue };
                let k = rows::write(k, &to, &ok.clone().slice([from.clone()]));
                let v = rows::write(v, &to, &ov.clone().slice([from.clone()]));
                *new = Some((k, v));
            }
            self.lengths[slot] = len;
        }
    }
}
