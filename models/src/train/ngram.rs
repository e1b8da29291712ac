/// Bytes predicted from the two before them: the frequencies of a text, smoothed after Witten and Bell. What a model of bytes
/// must be better than.
///
/// ```text
/// p(c | ab) = (n(abc) + t(ab) p(c | b)) / (n(ab) + t(ab)),   p(c | b) and p(c) likewise, then 1/256
/// ```
/// `n` counts in the text, and `t` counts the different bytes that followed (I. Witten and T. Bell, The zero-frequency problem,
/// 1991).
pub struct Trigrams {
    /// Followers of the last 0, 1 and 2 bytes: `[256^order, 256]`.
    counts: [Vec<u32>; 3],
}

impl Trigrams {
    /// Count a text.
    pub fn of(text: &[u8]) -> Self {
        let mut counts = [0, 1, 2].map(|order| vec![0_u32; 256_usize.pow(order + 1)]);
        for (at, &byte) in text.iter().enumerate() {
            for (order, counts) in counts.iter_mut().enumerate().take(at + 1) {
                counts[place(&text[at - order..at], byte)] += 1;
            }
        }
        Self { counts }
    }

    /// The probability of a byte after others, of which the last two count.
    pub fn probability(&self, before: &[u8], byte: u8) -> f64 {
        let most = before.len().min(2);
        (0..=most).fold(1.0 / 256.0, |less, order| {
            let context = &before[before.len() - order..];
            let followers = &self.counts[order][place(context, 0)..][..256];
            let n: u64 = followers.iter().map(|&count| u64::from(count)).sum();
            let different = followers.iter().filter(|&&count| count > 0).count() as f64;
            match n {
                0 => less,
                _ => (f64::from(followers[usize::from(byte)]) + different * less) / (n as f64 + different),
            }
        })
    }

    /// The mean surprise of every byte of a text but the first, in nats.
    pub fn judge(&self, text: &[u8]) -> f64 {
        let sum: f64 = (1..text.len()).map(|at| -self.probability(&text[..at], text[at]).ln()).sum();
        sum / (text.len() - 1).max(1) as f64
    }
}

fn place(context: &[u8], byte: u8) -> usize {
    context.iter().chain([&byte]).fold(0, |place, &byte| 256 * place + usize::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn probabilities_add_up_and_follow_the_text() {
        let model = Trigrams::of(b"abcabcabd");
        for before in [&b""[..], b"a", b"ab", b"xab", b"zz"] {
            let sum: f64 = (0..=255).map(|byte| model.probability(before, byte)).sum();
            assert_relative_eq!(sum, 1.0, epsilon = 1e-12);
        }
        // By hand: 9 bytes, 4 different; b has 3 followers, 2 different; ab too.
        let alone = |n: f64| (n + 4.0 / 256.0) / 13.0;
        let after_b = (2.0 + 2.0 * alone(2.0)) / 5.0;
        assert_relative_eq!(model.probability(b"ab", b'c'), (2.0 + 2.0 * after_b) / 5.0, epsilon = 1e-12);
        assert_relative_eq!(model.probability(b"zz", b'a'), alone(3.0), epsilon = 1e-12);
        let expected = -(model.probability(b"a", b'b').ln() + model.probability(b"ab", b'd').ln()) / 2.0;
        assert_relative_eq!(model.judge(b"abd"), expected, epsilon = 1e-12);
    }
}
