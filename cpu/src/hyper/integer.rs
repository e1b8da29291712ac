//! Sums of products of 8-bit numbers, by the widest instructions there are. They are exact, so all levels agree.
#![allow(unsafe_code)]
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use core::arch::x86_64::*;

/// The two parts of a query, and the instructions to multiply them with: proof that the processor has them.
pub(super) struct Parts<'a> {
    high: &'a [i8],
    low: &'a [i8],
    kind: Kind,
    /// 128 times the sums of the parts: products are made with codes + 128, which are never negative.
    shift: [i32; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(all(feature = "std", target_arch = "x86_64")), allow(dead_code))]
enum Kind {
    Portable,
    Avx2,
    Vnni,
}

impl<'a> Parts<'a> {
    /// Of equal lengths.
    pub(super) fn new(high: &'a [i8], low: &'a [i8]) -> Self {
        assert_eq!(high.len(), low.len());
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        let kind = {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") && has!("avx512bw") && has!("avx512vnni") {
                Kind::Vnni
            } else if has!("avx2") {
                Kind::Avx2
            } else {
                Kind::Portable
            }
        };
        #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
        let kind = Kind::Portable;
        let shift = [high, low].map(|part| 128 * part.iter().map(|&x| i32::from(x)).sum::<i32>());
        Self { high, low, kind, shift }
    }

    /// `Σ codes · high` and `Σ codes · low`.
    #[inline]
    pub(super) fn products(&self, codes: &[i8]) -> [i32; 2] {
        let codes = &codes[..self.high.len()];
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        match self.kind {
            // SAFETY: `new` saw the instructions, and the three slices are equally long.
            Kind::Vnni => return unsafe { vnni(codes, self.high, self.low, self.shift) },
            // SAFETY: as above.
            Kind::Avx2 => return unsafe { avx2(codes, self.high, self.low) },
            Kind::Portable => {}
        }
        let _ = (self.kind, self.shift);
        portable(codes, self.high, self.low)
    }
}

fn portable(codes: &[i8], high: &[i8], low: &[i8]) -> [i32; 2] {
    let mut sums = [0; 2];
    for ((&code, &high), &low) in codes.iter().zip(high).zip(low) {
        sums[0] += i32::from(code) * i32::from(high);
        sums[1] += i32::from(code) * i32::from(low);
    }
    sums
}

/// # Safety
/// The processor has these instructions; the three are equally long.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn vnni(codes: &[i8], high: &[i8], low: &[i8], shift: [i32; 2]) -> [i32; 2] {
    let flip = _mm512_set1_epi8(-128);
    let (mut a, mut b) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let mut at = 0;
    while at < codes.len() {
        let left = (codes.len() - at).min(64);
        let mask = if left == 64 { !0 } else { (1 << left) - 1 };
        // SAFETY: only the `left` bytes from `at` on are read. Parts are 0 where there is nothing, so codes may be 128.
        let (row, h, l) = unsafe {
            (
                _mm512_maskz_loadu_epi8(mask, codes.as_ptr().add(at)),
                _mm512_maskz_loadu_epi8(mask, high.as_ptr().add(at)),
                _mm512_maskz_loadu_epi8(mask, low.as_ptr().add(at)),
            )
        };
        let row = _mm512_xor_si512(row, flip);
        a = _mm512_dpbusd_epi32(a, row, h);
        b = _mm512_dpbusd_epi32(b, row, l);
        at += 64;
    }
    [_mm512_reduce_add_epi32(a).wrapping_sub(shift[0]), _mm512_reduce_add_epi32(b).wrapping_sub(shift[1])]
}

/// # Safety
/// As [`vnni`].
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2")]
unsafe fn avx2(codes: &[i8], high: &[i8], low: &[i8]) -> [i32; 2] {
    let whole = codes.len() / 16 * 16;
    let mut sums = [_mm256_setzero_si256(); 2];
    for at in (0..whole).step_by(16) {
        // SAFETY: 16 bytes from `at` on are inside all three.
        let [row, high, low] =
            unsafe { [codes, high, low].map(|x| _mm256_cvtepi8_epi16(_mm_loadu_si128(x.as_ptr().add(at).cast()))) };
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(row, high));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(row, low));
    }
    let [a, b] = portable(&codes[whole..], &high[whole..], &low[whole..]);
    let total = |sum: __m256i| {
        let mut lanes = [0_i32; 8];
        // SAFETY: the array has 32 bytes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes.into_iter().sum::<i32>()
    };
    [a + total(sums[0]), b + total(sums[1])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn all_kinds_agree() {
        for len in [0, 1, 15, 16, 63, 64, 65, 384, 1000] {
            let number = |seed: usize| move |i: usize| ((i * 7919 + seed * 104_729) % 255) as i8;
            let [codes, high, low] = [1, 2, 3].map(|seed| (0..len).map(number(seed)).collect::<Vec<_>>());
            let want = portable(&codes, &high, &low);
            let mut parts = Parts::new(&high, &low);
            let best = parts.kind;
            for kind in [Kind::Portable, Kind::Avx2, Kind::Vnni] {
                if kind as u8 <= best as u8 {
                    parts.kind = kind;
                    assert_eq!(parts.products(&codes), want, "{len}");
                }
            }
        }
    }
}
