//! How much memory a file of a stranger may cost.

/// Memory for what a file says of itself: names, numbers, lists. A byte of a file can ask for a hundred bytes of memory (an
/// empty list in a list, say), so whoever reads such things pays for each beforehand, out of a few times the size of the whole
/// file.
///
/// Real files hold far more weights than words about them, and use a hundredth of it. The numbers of tensors are not paid for:
/// they are as many as the file has bytes for.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    whole: u64,
    left: u64,
}

/// Bytes of memory for a byte of the file.
const TIMES: u64 = 4;
/// Bytes whatever the file's size: small files are mostly words.
const SPARE: u64 = 1 << 20;

impl Budget {
    /// For a file of so many bytes.
    pub fn of(file: u64) -> Self {
        let whole = file.saturating_mul(TIMES).saturating_add(SPARE);
        Self { whole, left: whole }
    }

    /// Pay for so many bytes, or say that they are too many.
    pub fn pay(&mut self, bytes: usize) -> Result<(), String> {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => self.left = left,
            None => {
                return Err(format!(
                    "what it says of itself would take more than {} bytes of memory, {TIMES} times the file",
                    self.whole
                ));
            }
        }
        Ok(())
    }

    /// Pay for `count` things of `each` bytes.
    pub fn pay_for(&mut self, count: usize, each: usize) -> Result<(), String> {
        self.pay(count.saturating_mul(each))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_at_the_end() {
        let mut budget = Budget::of(10);
        budget.pay(40).unwrap();
        budget.pay_for(1 << 10, 1 << 10).unwrap();
        budget.pay(0).unwrap();
        assert!(budget.pay(1).unwrap_err().contains("1048616 bytes"));
        assert!(budget.pay_for(usize::MAX, 2).is_err());
    }
}
