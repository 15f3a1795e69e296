//! Arithmetic on f32 slices that the compiler turns into vector code; call it inside [`with_simd`].

/// Runs `f` compiled for the widest vector units the processor has (AVX-512, AVX2, or the baseline).
#[inline(always)]
pub fn with_simd<R>(f: impl FnOnce() -> R) -> R {
    struct Op<F>(F);
    impl<R, F: FnOnce() -> R> pulp::WithSimd for Op<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Op(f))
}

pub const LANES: usize = 16;

/// 1.5 · 2²³: adding it rounds to an integer in the low bits.
const MAGIC: f32 = 12_582_912.0;

/// Sum of products, in a fixed order.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let (ac, bc) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = ac.remainder().iter().zip(bc.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in ac.zip(bc) {
        for i in 0..LANES {
            acc[i] += x[i] * y[i];
        }
    }
    total(acc) + tail
}

/// Sum of all elements, in a fixed order.
#[inline(always)]
pub fn sum(a: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let chunks = a.chunks_exact(LANES);
    let tail: f32 = chunks.remainder().iter().sum();
    for x in chunks {
        for i in 0..LANES {
            acc[i] += x[i];
        }
    }
    total(acc) + tail
}

/// Half of the lanes onto the other half, until one is left: one after another each would wait for the one before.
#[inline(always)]
pub fn total(mut acc: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            acc[i] += acc[half + i];
        }
        half /= 2;
    }
    acc[0]
}

/// Largest element (negative infinity for an empty slice).
#[inline(always)]
pub fn max(a: &[f32]) -> f32 {
    let mut acc = [f32::NEG_INFINITY; LANES];
    let chunks = a.chunks_exact(LANES);
    let tail = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for x in chunks {
        for i in 0..LANES {
            acc[i] = if x[i] > acc[i] { x[i] } else { acc[i] };
        }
    }
    acc.into_iter().fold(tail, f32::max)
}

/// Largest magnitude (0 for an empty slice; what NaN makes of it is not defined).
#[inline(always)]
pub fn max_abs(a: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let chunks = a.chunks_exact(LANES);
    let tail = chunks.remainder().iter().fold(0f32, |most, x| most.max(x.abs()));
    for x in chunks {
        for i in 0..LANES {
            acc[i] = if x[i].abs() > acc[i] { x[i].abs() } else { acc[i] };
        }
    }
    acc.into_iter().fold(tail, f32::max)
}

/// √(x·x), of large and small numbers too.
pub fn length(x: &[f32]) -> f32 {
    x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt() as f32
}

/// Writes x · inverse, rounded, to q, and returns the sum of (x - scale · q)². The rounded numbers must fit into 8 bits.
#[inline(always)]
pub fn to_integers(x: &[f32], inverse: f32, scale: f32, q: &mut [i8]) -> f32 {
    let mut acc = [0f32; LANES];
    let (mut xs, mut qs) = (x.chunks_exact(LANES), q.chunks_exact_mut(LANES));
    for (x, q) in (&mut xs).zip(&mut qs) {
        for i in 0..LANES {
            let (whole, left) = nearest(x[i], inverse, scale);
            q[i] = whole as i8;
            acc[i] += left * left;
        }
    }
    let mut sum = 0.0;
    for (x, q) in xs.remainder().iter().zip(qs.into_remainder()) {
        let (whole, left) = nearest(*x, inverse, scale);
        *q = whole as i8;
        sum += left * left;
    }
    acc.iter().sum::<f32>() + sum
}

/// x · inverse, rounded, and x - scale · that. The rounded number must fit into 16 bits.
#[inline(always)]
pub fn nearest(x: f32, inverse: f32, scale: f32) -> (i16, f32) {
    let z = x * inverse + MAGIC;
    (z.to_bits() as i16, x - scale * (z - MAGIC))
}

/// Replaces x by exp(x - shift) and returns the sum.
#[inline(always)]
pub fn exp_sum(a: &mut [f32], shift: f32) -> f32 {
    let mut acc = [0f32; LANES];
    let mut chunks = a.chunks_exact_mut(LANES);
    for x in &mut chunks {
        for i in 0..LANES {
            x[i] = exp(x[i] - shift);
            acc[i] += x[i];
        }
    }
    let mut sum = 0.0;
    for x in chunks.into_remainder() {
        *x = exp(*x - shift);
        sum += *x;
    }
    total(acc) + sum
}

/// e^x to about 2 units in the last place: 2^n times a polynomial on [-ln2/2, ln2/2] (Cephes `expf`).
/// NaN stays NaN; results below the normal range become 0.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let c = if x > 88.376 { 88.376 } else { x };
    let z = c.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = z - MAGIC;
    // ln 2 in two parts, so that the reduction is exact
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, c));
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 5e-1);
    p = p.mul_add(r * r, r) + 1.0;
    let scaled = f32::from_bits(p.to_bits().wrapping_add(z.to_bits() << 23));
    if x < -87.3 { 0.0 } else { scaled }
}

/// 2^x for x up to 127, to about 2 units in the last place (Cephes `exp2f`): cheaper than [`exp`], whose argument has to be brought
/// to this base first. NaN stays NaN; results below the normal range become 0.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    let z = x + MAGIC;
    let r = x - (z - MAGIC);
    let mut p = 1.535_336_2e-4f32;
    p = p.mul_add(r, 1.339_887_4e-3);
    p = p.mul_add(r, 9.618_437e-3);
    p = p.mul_add(r, 5.550_332_5e-2);
    p = p.mul_add(r, 2.402_264_8e-1);
    p = p.mul_add(r, 6.931_472e-1);
    p = p.mul_add(r, 1.0);
    let scaled = f32::from_bits(p.to_bits().wrapping_add(z.to_bits() << 23));
    if x < -126.0 { 0.0 } else { scaled }
}

/// 1 / (1 + e^-x)
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// tanh through exp; 1 ulp-scale errors near 0 do not matter for GELU.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// The error function to 2e-7 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4;
    p = p * t - 1.453_152;
    p = p * t + 1.421_413_7;
    p = p * t - 0.284_496_74;
    p = p * t + 0.254_829_6;
    (1.0 - p * t * exp(-a * a)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere() {
        for i in -8700..8830 {
            let x = i as f32 / 100.0 + 0.003;
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(((got - want) / want).abs() < 4e-7, "exp({x}) = {got}, want {want}");
        }
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn exp2_is_close_everywhere() {
        for i in -12_600..12_700 {
            let x = i as f32 / 100.0 + 0.003;
            let (got, want) = (f64::from(exp2(x)), f64::from(x).exp2());
            assert!(((got - want) / want).abs() < 4e-7, "exp2({x}) = {got}, want {want}");
        }
        assert_eq!(exp2(0.0), 1.0);
        assert_eq!(exp2(-1000.0), 0.0);
        assert_eq!(exp2(f32::NEG_INFINITY), 0.0);
        assert!(exp2(f32::NAN).is_nan());
    }

    #[test]
    fn erf_at_known_places() {
        for (x, want) in
            [(0.0, 0.0), (0.1, 0.112_462_92), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.5, 0.999_593)]
        {
            assert!((erf(x) - want).abs() < 3e-7, "erf({x}) = {}", erf(x));
            assert!((erf(-x) + want).abs() < 3e-7);
        }
    }

    #[test]
    fn sums_cover_the_tail() {
        let a: Vec<f32> = (0..37).map(|x| x as f32).collect();
        assert_eq!(dot(&a, &a), (0..37).map(|x| (x * x) as f32).sum::<f32>());
        assert_eq!(max(&a), 36.0);
        assert_eq!(sum(&a), 666.0);
        let mut e = vec![0.0; 37];
        assert_eq!(exp_sum(&mut e, 0.0), 37.0);
    }
}
