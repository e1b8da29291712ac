/// Philox4x32-10, a counter-based generator (Salmon et al., SC'11): the same numbers on every device, in any order.
///
/// `kernels/cuda/philox.cuh` is its twin. A draw is named by (`key`, `counter`), so parallel work needs no shared state.
pub fn philox(key: u64, counter: [u32; 4]) -> [u32; 4] {
    const MULTIPLY: [u64; 2] = [0xd251_1f53, 0xcd9e_8d57];
    const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
    let mut key = [key as u32, (key >> 32) as u32];
    let mut x = counter;
    for _ in 0..10 {
        let (a, b) = (MULTIPLY[0] * u64::from(x[0]), MULTIPLY[1] * u64::from(x[2]));
        x = [(b >> 32) as u32 ^ x[1] ^ key[0], b as u32, (a >> 32) as u32 ^ x[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    x
}

/// A stream of [`philox`] draws that can be saved and continued: its whole state is two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Philox {
    key: u64,
    drawn: u64,
}

impl Philox {
    /// Stream `key`, at its start.
    pub fn new(key: u64) -> Self {
        Self::at(key, 0)
    }

    /// Stream `key` after `drawn` numbers.
    pub fn at(key: u64, drawn: u64) -> Self {
        Self { key, drawn }
    }

    /// Key, and numbers drawn so far.
    pub fn state(&self) -> (u64, u64) {
        (self.key, self.drawn)
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        let block = self.drawn / 4;
        let x = philox(self.key, [block as u32, (block >> 32) as u32, 0, 0]);
        self.drawn += 1;
        x[((self.drawn - 1) % 4) as usize]
    }

    /// Uniform over `0..n`, without bias. `n` must not be 0.
    pub fn below(&mut self, n: u32) -> u32 {
        loop {
            let product = u64::from(self.bits()) * u64::from(n);
            if product as u32 >= n.wrapping_neg() % n {
                return (product >> 32) as u32;
            }
        }
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / (1 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution.
    #[test]
    fn known_answers() {
        assert_eq!(philox(0, [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox(u64::MAX, [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox(0x299f_31d0_a409_3822, pi), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn below_is_in_range() {
        let mut draw = Philox::new(7);
        assert!((1..200).all(|n| draw.below(n) < n));
    }
}
