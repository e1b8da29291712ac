//! The few best of many.

/// The `count` largest of `values` that are finite, with their places: largest first, ties by place.
pub fn largest(values: impl Iterator<Item = f32>, count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (place, value) in values.enumerate() {
        if best.len() == count && best.last().is_none_or(|last| value <= last.1) || !value.is_finite() {
            continue;
        }
        let at = best.partition_point(|other| other.1 >= value);
        best.insert(at, (place as u32, value));
        best.truncate(count);
    }
    best
}

/// What came with the `most` smallest of the keys that were offered, smallest first. The order of offers does not matter,
/// as long as keys differ.
#[derive(Clone, Debug)]
pub struct Few<K, T> {
    most: usize,
    kept: Vec<(K, T)>,
}

impl<K: Ord, T> Few<K, T> {
    pub fn new(most: usize) -> Self {
        Self { most, kept: Vec::new() }
    }

    /// Keep what `make` makes, if `key` is among the smallest so far.
    pub fn offer(&mut self, key: K, make: impl FnOnce() -> T) {
        let at = self.kept.partition_point(|(other, _)| *other < key);
        if at < self.most {
            self.kept.insert(at, (key, make()));
            self.kept.truncate(self.most);
        }
    }

    pub fn finish(self) -> Vec<T> {
        self.kept.into_iter().map(|(_, kept)| kept).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_ties_by_place() {
        let values = [1.0, f32::NAN, 3.0, -2.0, 3.0, f32::INFINITY, 2.0, 3.0];
        assert_eq!(largest(values.into_iter(), 2), [(2, 3.0), (4, 3.0)]);
        assert_eq!(largest(values.into_iter(), 5), [(2, 3.0), (4, 3.0), (7, 3.0), (6, 2.0), (0, 1.0)]);
        assert_eq!(largest(values.into_iter(), 9).len(), 6);
        assert!(largest(values.into_iter(), 0).is_empty() && largest([].into_iter(), 3).is_empty());
    }

    #[test]
    fn offers_in_any_order() {
        let keys = [5, 1, 4, 2, 3, 0];
        for turn in 0..keys.len() {
            let mut few = Few::new(3);
            (0..keys.len()).map(|i| keys[(i + turn) % keys.len()]).for_each(|key| few.offer(key, || key * 10));
            assert_eq!(few.finish(), [0, 10, 20]);
        }
        let mut none = Few::new(0);
        none.offer(1, || panic!("nothing is kept, so nothing is made"));
        assert!(Vec::<()>::is_empty(&none.finish()));
    }
}
