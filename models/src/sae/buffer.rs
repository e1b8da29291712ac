use crate::io::{Error, Result};
use crate::{Device, Philox, Tensor, View, gather_rows_into};
use std::ops::Range;

/// Activations in random order. Rows come from contexts, which the caller has shuffled; the buffer holds as many as
/// there is room for, hands them out in an order of its own, and is then filled with the next ones. A row is handed out
/// once per round, except that the last few of a filling, too few for a batch, wait for the next round.
///
/// Everything is decided by the seed and the number of batches handed out, so [`at`](Self::at) is all that resuming
/// needs.
pub struct Buffer {
    rows: Tensor<f32, 2>,
    order: Tensor<u32, 1>,
    batch: Tensor<f32, 2>,
    plan: Plan,
    seed: u64,
    served: u64,
    filled: Option<usize>,
    ordered: Option<u64>,
}

/// How all rows are split into fillings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    total: usize,
    room: usize,
    batch: usize,
}

/// Where the next batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Fillings before this one, over all rounds.
    turn: u64,
    /// Which part of the rows.
    filling: usize,
    /// Batches handed out of it.
    batch: usize,
}

impl Plan {
    fn fillings(&self) -> usize {
        self.total.div_ceil(self.room)
    }

    fn rows(&self, filling: usize) -> usize {
        self.room.min(self.total - filling * self.room)
    }

    fn place(&self, served: u64) -> Place {
        let batches = |filling| (self.rows(filling) / self.batch) as u64;
        let round: u64 = (0..self.fillings()).map(batches).sum();
        let (mut left, mut filling) = (served % round, 0);
        while left >= batches(filling) {
            left -= batches(filling);
            filling += 1;
        }
        let turn = served / round * self.fillings() as u64 + filling as u64;
        Place { turn, filling, batch: left as usize }
    }
}

impl Buffer {
    /// A buffer over `total` rows of width `d`, with room for `room` of them, which starts after `at` batches.
    ///
    /// # Errors
    /// [`Error::Setting`] if there are not enough rows for a batch; or if the memory cannot be had.
    pub fn new(total: usize, d: usize, room: usize, batch: usize, seed: u64, at: u64, device: &Device) -> Result<Self> {
        let plan = Plan { total, room: room.min(total), batch };
        if batch == 0 || plan.room < batch {
            return Err(Error::setting("batch", format!("{batch} rows of {} that there is room for", plan.room)));
        }
        Ok(Self {
            rows: Tensor::zeros([plan.room, d], device)?,
            order: Tensor::zeros([plan.room], device)?,
            batch: Tensor::zeros([batch, d], device)?,
            plan,
            seed,
            served: at,
            filled: None,
            ordered: None,
        })
    }

    /// Have the rows of the next batch in memory. `fill(start, rows)` is asked to write rows `start..` of all, if they
    /// are not there yet.
    ///
    /// # Errors
    /// What `fill` says.
    pub fn prepare(&mut self, fill: impl FnOnce(usize, &mut Tensor<f32, 2>) -> Result<()>) -> Result<()> {
        let filling = self.plan.place(self.served).filling;
        if self.filled != Some(filling) {
            self.filled = None; // in case it fails
            fill(filling * self.plan.room, &mut self.rows)?;
            self.filled = Some(filling);
        }
        Ok(())
    }

    /// Where the rows of the next batch begin that are not in memory yet.
    #[cfg(feature = "lm")]
    pub(super) fn wants(&self) -> Option<usize> {
        let filling = self.plan.place(self.served).filling;
        (self.filled != Some(filling)).then_some(filling * self.plan.room)
    }

    /// The next batch, after [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// What `fill` says, or the device.
    pub fn next(&mut self, fill: impl FnOnce(usize, &mut Tensor<f32, 2>) -> Result<()>) -> Result<View<'_, f32, 2>> {
        self.prepare(fill)?;
        let place = self.plan.place(self.served);
        if self.ordered != Some(place.turn) {
            let mut order = shuffled(self.plan.rows(place.filling), self.seed, place.turn);
            order.resize(self.plan.room, 0);
            self.order.write(&order)?;
            self.ordered = Some(place.turn);
        }
        let [first, last] = [place.batch, place.batch + 1].map(|b| b * self.plan.batch);
        gather_rows_into(self.rows.view(), self.order.view().narrow(0, first, last)?, self.batch.view_mut())?;
        self.served += 1;
        Ok(self.batch.view())
    }

    /// Batches handed out.
    pub fn at(&self) -> u64 {
        self.served
    }

    /// The rows in memory, in their own order; those after the last of all are what an earlier filling left.
    pub fn rows(&self) -> View<'_, f32, 2> {
        self.rows.view()
    }

    /// Which of all rows are in memory.
    pub fn range(&self) -> Range<usize> {
        let start = self.filled.unwrap_or(0) * self.plan.room;
        start..start + self.filled.map_or(0, |filling| self.plan.rows(filling))
    }
}

/// `0..n` in the order that a seed and a turn name.
pub(crate) fn shuffled(n: usize, seed: u64, turn: u64) -> Vec<u32> {
    let mut draw = Philox::new(seed ^ (turn + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut order: Vec<u32> = (0..n as u32).collect();
    for last in (1..n).rev() {
        order.swap(last, draw.below(last as u32 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that hold their own number.
    fn fill(start: usize, rows: &mut Tensor<f32, 2>) -> Result<()> {
        let [room, d] = rows.dims();
        let numbers: Vec<f32> = (0..room * d).map(|i| (start + i / d) as f32).collect();
        Ok(rows.write(&numbers)?)
    }

    fn take(buffer: &mut Buffer) -> Vec<f32> {
        let batch = buffer.next(fill).unwrap();
        let rows = Tensor::<f32, 2>::zeros(batch.dims(), &Device::Host).unwrap();
        let mut rows = rows;
        crate::copy_into(batch, rows.view_mut()).unwrap();
        rows.to_vec().unwrap().into_iter().step_by(3).collect()
    }

    #[test]
    fn every_row_once_a_round() {
        // Fillings of 8, 8 and 4 rows, in batches of 4.
        let mut buffer = Buffer::new(20, 3, 8, 4, 7, 0, &Device::Host).unwrap();
        for _ in 0..3 {
            let mut round: Vec<f32> = (0..5).flat_map(|_| take(&mut buffer)).collect();
            round.sort_by(f32::total_cmp);
            assert_eq!(round, (0..20).map(|i| i as f32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn resumes_anywhere() {
        let mut whole = Buffer::new(20, 3, 8, 4, 7, 0, &Device::Host).unwrap();
        let all: Vec<Vec<f32>> = (0..12).map(|_| take(&mut whole)).collect();
        for at in 0..12 {
            let mut part = Buffer::new(20, 3, 8, 4, 7, at as u64, &Device::Host).unwrap();
            assert!(all[at..].iter().all(|batch| *batch == take(&mut part)), "{at}");
        }
        assert_ne!(all[0], all[5]);
        assert!(Buffer::new(3, 3, 8, 4, 7, 0, &Device::Host).is_err());
    }
}
