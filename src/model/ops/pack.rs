//! Copies matrices into the panels that [`super::panels`] multiplies.

use super::gemm::Mat;
use super::lanes::with_simd;
use super::panels::{ROWS, WIDEST};

/// Copies the rows of `m` into panels of `width` lines: the numbers of one depth lie together, lines that do not exist are zeros.
pub fn pack_lines(data: &mut [f32], m: Mat, width: usize) {
    let done = turned(data, m, width);
    if done == m.rows {
        return;
    }
    let (data, m) = (&mut data[done * m.cols..], m.part(done..m.rows));
    with_simd(
        #[inline(always)]
        || match width {
            ROWS => pack::<ROWS>(data, m),
            1 => pack::<1>(data, m),
            2 => pack::<2>(data, m),
            4 => pack::<4>(data, m),
            8 => pack::<8>(data, m),
            16 => pack::<16>(data, m),
            _ => pack::<WIDEST>(data, m),
        },
    );
}

/// Copies the rows of `m` into panels of W lines.
#[inline(always)]
fn pack<const W: usize>(panels: &mut [f32], m: Mat) {
    for (i, out) in panels.chunks_exact_mut((W * m.cols).max(1)).enumerate() {
        let lines = W.min(m.rows - i * W);
        let data = &m.data[i * W * m.row_stride..];
        let out = out.as_chunks_mut::<W>().0;
        if m.row_stride == 1 && lines == W {
            for (d, out) in out.iter_mut().enumerate() {
                out.copy_from_slice(&data[d * m.col_stride..][..W]);
            }
            continue;
        }
        if lines < W {
            out.fill([0.0; W]);
        }
        // A block of depths at a time, so that what is written with a stride stays in the cache.
        for (block, out) in out.chunks_mut(16).enumerate() {
            for line in 0..lines {
                let source = data[line * m.row_stride + block * 16 * m.col_stride..].iter();
                if m.col_stride == 1 {
                    out.iter_mut().zip(source).for_each(|(out, x)| out[line] = *x);
                } else {
                    out.iter_mut().zip(source.step_by(m.col_stride)).for_each(|(out, x)| out[line] = *x);
                }
            }
        }
    }
}

/// Copies the transpose of `m`, whose rows are contiguous, to rows `stride` apart.
pub fn transpose(out: &mut [f32], stride: usize, m: Mat) {
    #[cfg(target_arch = "x86_64")]
    let m = match pulp::x86::V3::try_new() {
        Some(simd) => return squares::transpose(simd, out, stride, m),
        None => m,
    };
    (0..m.rows).for_each(|r| column(out, stride, (r, 0), m.row(r)));
}

/// Writes numbers to a column, from a row on.
#[inline(always)]
fn column(out: &mut [f32], stride: usize, (column, first): (usize, usize), numbers: &[f32]) {
    for (i, x) in numbers.iter().enumerate() {
        out[(first + i) * stride + column] = *x;
    }
}

/// Copies whole panels of rows that are contiguous, where the processor has AVX2: squares of numbers turned in registers take a
/// third of the time of numbers one by one. Returns how many rows it copied.
#[cfg(target_arch = "x86_64")]
fn turned(data: &mut [f32], m: Mat, width: usize) -> usize {
    let Some(simd) = pulp::x86::V3::try_new().filter(|_| m.col_stride == 1 && m.cols > 0) else { return 0 };
    match width {
        ROWS => squares::pack::<ROWS>(simd, data, m),
        8 => squares::pack::<8>(simd, data, m),
        16 => squares::pack::<16>(simd, data, m),
        WIDEST => squares::pack::<WIDEST>(simd, data, m),
        _ => 0,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn turned(_: &mut [f32], _: Mat, _: usize) -> usize {
    0
}

#[cfg(target_arch = "x86_64")]
mod squares {
    use super::{Mat, column};
    use pulp::NullaryFnOnce;
    use pulp::x86::V3;
    use std::arch::x86_64::__m256;

    /// Numbers in a vector, and vectors in a square.
    const SIDE: usize = 8;
    type Row = [f32; SIDE];

    /// Copies the rows of `m` into as many panels of W lines as they fill; returns how many rows that are.
    pub fn pack<const W: usize>(simd: V3, data: &mut [f32], m: Mat) -> usize {
        let panels = data.chunks_exact_mut(W * m.cols).take(m.rows / W);
        for (i, out) in panels.enumerate() {
            let rows = m.part(i * W..(i + 1) * W);
            simd.vectorize(Panel::<W> { simd, out, rows });
        }
        m.rows / W * W
    }

    struct Panel<'a, const W: usize> {
        simd: V3,
        out: &'a mut [f32],
        rows: Mat<'a>,
    }

    impl<const W: usize> NullaryFnOnce for Panel<'_, W> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let (squares, rest) = self.out.as_chunks_mut::<W>().0.as_chunks_mut::<SIDE>();
            let done = squares.len();
            for from in (0..W).step_by(SIDE) {
                let lines = (W - from).min(SIDE);
                // Where there are fewer lines than vectors in a square, one of them takes the places of those missing.
                let mut rows: [&[Row]; SIDE] = [&[]; SIDE];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = &self.rows.row(from + r.min(lines - 1)).as_chunks().0[..done];
                }
                for (i, out) in squares.iter_mut().enumerate() {
                    let mut square = [[0f32; SIDE]; SIDE];
                    for (square, row) in square.iter_mut().zip(rows) {
                        *square = row[i];
                    }
                    for (out, line) in out.iter_mut().zip(turn(self.simd, square)) {
                        out[from..from + lines].copy_from_slice(&line[..lines]);
                    }
                }
            }
            for (d, out) in rest.iter_mut().enumerate() {
                for (line, out) in out.iter_mut().enumerate() {
                    *out = self.rows.row(line)[done * SIDE + d];
                }
            }
        }
    }

    /// [`super::transpose`] by squares, and the rest number by number.
    pub fn transpose(simd: V3, out: &mut [f32], stride: usize, m: Mat) {
        simd.vectorize(Transpose { simd, out, stride, m });
    }

    struct Transpose<'a> {
        simd: V3,
        out: &'a mut [f32],
        stride: usize,
        m: Mat<'a>,
    }

    impl NullaryFnOnce for Transpose<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { simd, out, stride, m } = self;
            let whole = [m.rows / SIDE * SIDE, m.cols / SIDE * SIDE];
            for r in (0..whole[0]).step_by(SIDE) {
                for c in (0..whole[1]).step_by(SIDE) {
                    let mut square = [[0f32; SIDE]; SIDE];
                    for (i, square) in square.iter_mut().enumerate() {
                        square.copy_from_slice(&m.row(r + i)[c..c + SIDE]);
                    }
                    for (i, line) in turn(simd, square).iter().enumerate() {
                        out[(c + i) * stride + r..][..SIDE].copy_from_slice(line);
                    }
                }
            }
            for r in 0..m.rows {
                let done = if r < whole[0] { whole[1] } else { 0 };
                column(out, stride, (r, done), &m.row(r)[done..]);
            }
        }
    }

    /// Rows become columns: numbers by two, by four, by half a vector.
    #[inline(always)]
    fn turn(simd: V3, rows: [Row; SIDE]) -> [Row; SIDE] {
        let avx = simd.avx;
        let by_two = |a, b| (avx._mm256_unpacklo_ps(a, b), avx._mm256_unpackhi_ps(a, b));
        let by_four = |a, b| (avx._mm256_shuffle_ps::<0x44>(a, b), avx._mm256_shuffle_ps::<0xee>(a, b));
        let first = |a, b| avx._mm256_permute2f128_ps::<0x20>(a, b);
        let second = |a, b| avx._mm256_permute2f128_ps::<0x31>(a, b);
        let [a, b, c, d, e, f, g, h] = pulp::cast::<_, [__m256; SIDE]>(rows);
        let ((ab, ab2), (cd, cd2)) = (by_two(a, b), by_two(c, d));
        let ((ef, ef2), (gh, gh2)) = (by_two(e, f), by_two(g, h));
        let ((p0, p1), (p2, p3)) = (by_four(ab, cd), by_four(ab2, cd2));
        let ((q0, q1), (q2, q3)) = (by_four(ef, gh), by_four(ef2, gh2));
        pulp::cast([
            first(p0, q0),
            first(p1, q1),
            first(p2, q2),
            first(p3, q3),
            second(p0, q0),
            second(p1, q1),
            second(p2, q2),
            second(p3, q3),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_whatever_the_sizes() {
        let data: Vec<f32> = (0..40 * 30).map(|i| i as f32 + 1.0).collect();
        for (rows, cols) in [(1, 1), (8, 8), (16, 11), (13, 24), (30, 7)] {
            let stride = rows + 3;
            let mut out = vec![-1.0; cols * stride];
            transpose(&mut out, stride, Mat::new(&data, rows, cols, 40));
            for (at, got) in out.iter().enumerate() {
                let (c, r) = (at / stride, at % stride);
                assert_eq!(*got, if r < rows { data[r * 40 + c] } else { -1.0 }, "{rows} x {cols}: {r}, {c}");
            }
        }
    }

    #[test]
    fn each_number_has_its_place_whatever_the_sizes() {
        let data: Vec<f32> = (0..80 * 50).map(|i| i as f32 + 1.0).collect();
        for width in [1, 2, 4, 6, 8, 16, 32] {
            for (rows, cols) in [(1, 1), (6, 8), (5, 19), (16, 16), (17, 7), (32, 40), (67, 33)] {
                let m = Mat::new(&data, rows, cols, 50);
                for m in [m, m.t(), Mat { col_stride: 2, cols: cols.div_ceil(2), ..m }] {
                    // What was there before is written over.
                    let mut panels = vec![-1.0; m.rows.div_ceil(width) * width * m.cols];
                    pack_lines(&mut panels, m, width);
                    for (at, got) in panels.iter().enumerate() {
                        let (panel, inner) = (at / (width * m.cols), at % (width * m.cols));
                        let (line, depth) = (panel * width + inner % width, inner / width);
                        let there = line < m.rows;
                        let want = if there { data[line * m.row_stride + depth * m.col_stride] } else { 0.0 };
                        assert_eq!(*got, want, "width {width}, {} x {}: {line}, {depth}", m.rows, m.cols);
                    }
                }
            }
        }
    }
}
