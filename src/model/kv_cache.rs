//! Keys and values of the tokens seen so far: fixed slots, so that sequences of any length share one batch.

use super::ops::{self, Segment, is_cpu, rows};
use burn::tensor::{DType, Device, Tensor};

/// A cache grows by whole multiples of this many tokens.
const STEP: usize = 64;

/// So many tokens at a time are worth a second core.
const MANY: usize = 64;

/// The capacity of a slot for sequences of at most `longest` tokens.
pub fn capacity(longest: usize) -> usize {
    longest.next_multiple_of(STEP)
}

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
    pub(super) segments: Vec<Segment>,
    /// The tokens whose hidden states are wanted, of all new ones.
    pub(super) wanted: Vec<usize>,
}

impl Place {
    /// Only the hidden states of these tokens, in order, will be asked for.
    pub fn wanting(self, wanted: Vec<usize>) -> Self {
        Self { wanted, ..self }
    }

    pub(super) fn all_wanted(&self) -> bool {
        self.wanted.len() == self.rows.len()
    }

    /// What the wanted tokens see, as sequences of one query.
    pub(super) fn segments_of_wanted(&self) -> Vec<Segment> {
        let of = |(i, token): (usize, &usize)| {
            let s =
                self.segments.iter().find(|s| s.q.contains(token)).expect("every new token has a segment");
            Segment { q: i..i + 1, k: s.k.start..s.k.end + token + 1 - s.q.end }
        };
        self.wanted.iter().enumerate().map(of).collect()
    }
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
        Place { wanted: (0..all.len()).collect(), rows: all, segments }
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

    /// Takes in the new keys and values of a layer, k and v [T, kv_heads, d].
    pub(super) fn write(&mut self, layer: usize, place: &Place, k: Tensor<3>, v: Tensor<3>) {
        let width = self.kv_heads * k.dims()[2];
        let t = place.rows.len();
        let (keys, values) = self.layers[layer].take().expect("put back below");
        // Memory that is written for the first time is cleared by the system meanwhile: by two cores at a time.
        let both = t >= MANY && is_cpu(&keys);
        let write = |all, new: Tensor<3>| rows::write(all, &place.rows, &new.reshape([t, width]));
        self.layers[layer] = Some(match both {
            true => rayon::join(|| write(keys, k), || write(values, v)),
            false => (write(keys, k), write(values, v)),
        });
    }

    /// Attention of queries q [T, heads, d] to what a layer holds.
    pub(super) fn attend(&self, layer: usize, segments: &[Segment], q: &Tensor<3>) -> Tensor<3> {
        let (keys, values) = self.layers[layer].as_ref().expect("only taken while it is written");
        let (n, d) = (keys.dims()[0], q.dims()[2]);
        let as_heads = |x: &Tensor<2>| x.clone().reshape([n, self.kv_heads, d]);
        ops::attention_saved(q, &as_heads(keys), &as_heads(values), segments, true).o
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
