//! Which rows of `[batch, len, ..]` follow one another: sequences packed into one batch entry, and orders to read rows in.
//!
//! | argument | shape             | type            |
//! |----------|-------------------|-----------------|
//! | `bounds` | `[sequences + 1]` | `u32`, optional |
//! | `orders` | `[orders, len]`   | `u32`, optional |
//!
//! Position `p` of order `o` is row `orders[o, p]` of every batch entry. Without `orders` there is one, that of memory.
//! `bounds` cuts the positions of the only batch entry: sequence `s` is `bounds[s]..bounds[s + 1]`, and may be empty.
//! Without it every batch entry is a sequence. Batch entries that differ in their order are packed into one.
//!
//! **A bad table** (bounds that do not ascend from 0 to `len`, an order that is no permutation of the rows) is an error on
//! the host, before anything is written; on CUDA, where the host does not look at it, all outputs are NaN.
//! **Errors** `Size` if an order is not as long as the rows or there are rows but no sequence, `Value` for bounds with another
//! batch than one.
use crate::{Chip, Error, Image, Launch, Layout, Result, Span, SpanMut};
use alloc::{vec, vec::Vec};

/// The two tables, as slices on the host or spans of a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables<S> {
    /// Where sequences begin, and the end of the last.
    pub bounds: Option<S>,
    /// Rows by position, order by order.
    pub orders: Option<S>,
}

/// A checked pair of tables, but for their numbers. Families make one in their `plan`.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    batch: usize,
    len: usize,
    sequences: Option<usize>,
    orders: Option<Layout<2>>,
}

/// A sequence: a batch entry, and positions of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Which, in the order of states.
    pub index: usize,
    /// Batch entry.
    pub batch: usize,
    /// First position.
    pub begin: usize,
    /// One past the last position.
    pub end: usize,
}

impl Sequence {
    /// Positions of it.
    pub fn len(&self) -> usize {
        self.end - self.begin
    }
    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.begin == self.end
    }
}

impl Route {
    /// Check the shapes of both tables.
    pub(crate) fn plan(
        op: &'static str,
        [batch, len]: [usize; 2],
        bounds: Option<&Layout<1>>,
        orders: Option<&Layout<2>>,
    ) -> Result<Self> {
        if len > i32::MAX as usize {
            return Err(Error::Range { op, arg: "len", max: i32::MAX as usize, got: len });
        }
        if bounds.is_some() && batch != 1 {
            return Err(Error::Value { op, arg: "bounds", want: "given for a batch of one only" });
        }
        // Rows are in a sequence.
        let (want, got) = (1 + usize::from(len > 0), bounds.map(Layout::len));
        if let Some(got) = got.filter(|&got| got < want) {
            return Err(Error::Size { op, arg: "bounds", want, got });
        }
        if let Some(orders) = orders {
            let [count, got] = orders.dims();
            if got != len {
                return Err(Error::Size { op, arg: "orders", want: len, got });
            }
            if count == 0 {
                return Err(Error::Size { op, arg: "orders", want: 1, got: 0 });
            }
        }
        Ok(Self { batch, len, sequences: got.map(|got| got - 1), orders: orders.copied() })
    }

    /// Batch entries.
    #[inline]
    pub fn batch(&self) -> usize {
        self.batch
    }
    /// Positions of each.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }
    /// All rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.batch * self.len
    }
    /// Sequences, each of which has a state of its own.
    pub fn sequences(&self) -> usize {
        self.sequences.unwrap_or(self.batch)
    }
    /// Whether bounds cut the only batch entry.
    pub fn packed(&self) -> bool {
        self.sequences.is_some()
    }
    /// Orders: 1 without a table.
    #[inline]
    pub fn orders(&self) -> usize {
        self.orders.map_or(1, |orders| orders.dims()[0])
    }
    /// Numbers from one order to the next in the table.
    pub(crate) fn stride(&self) -> usize {
        self.orders.map_or(0, |orders| orders.strides()[0])
    }

    /// Check the numbers of the tables, where they can be read, and that there are those that this was planned for.
    ///
    /// # Errors
    /// `Value` as the contract says.
    pub fn check(&self, op: &'static str, tables: Tables<&[u32]>) -> Result<()> {
        let want = "given if, and only if, it was planned for";
        if self.sequences.is_some() != tables.bounds.is_some() {
            return Err(Error::Value { op, arg: "bounds", want });
        }
        if self.orders.is_some() != tables.orders.is_some() {
            return Err(Error::Value { op, arg: "orders", want });
        }
        if let Some(bounds) = tables.bounds {
            let bounds = &bounds[..=self.sequences()];
            let ends = bounds[0] == 0 && bounds[self.sequences()] as usize == self.len;
            if !ends || bounds.windows(2).any(|pair| pair[0] > pair[1]) {
                return Err(Error::Value { op, arg: "bounds", want: "ascending from 0 to the number of positions" });
            }
        }
        if let Some(orders) = tables.orders {
            for order in 0..self.orders() {
                let mut seen = vec![false; self.len];
                for &row in &orders[order * self.stride()..][..self.len] {
                    if seen.get(row as usize).is_none_or(|&seen| seen) {
                        return Err(Error::Value {
                            op,
                            arg: "orders",
                            want: "a permutation of the rows in each order",
                        });
                    }
                    seen[row as usize] = true;
                }
            }
        }
        Ok(())
    }

    /// Row of position `p` of a batch entry, among all rows.
    #[inline]
    pub fn row(&self, tables: Tables<&[u32]>, order: usize, batch: usize, p: usize) -> usize {
        let row = tables.orders.map_or(p, |orders| orders[order * self.stride() + p] as usize);
        batch * self.len + row
    }

    /// Sequence `index`.
    pub fn sequence(&self, tables: Tables<&[u32]>, index: usize) -> Sequence {
        match tables.bounds {
            Some(bounds) => {
                Sequence { index, batch: 0, begin: bounds[index] as usize, end: bounds[index + 1] as usize }
            }
            None => Sequence { index, batch: index, begin: 0, end: self.len },
        }
    }

    /// The sequence that has position `p` of a batch entry.
    pub fn find(&self, tables: Tables<&[u32]>, batch: usize, p: usize) -> Sequence {
        let index = tables.bounds.map_or(batch, |bounds| bounds.partition_point(|&begin| begin as usize <= p) - 1);
        self.sequence(tables, index)
    }
}

/// Orders in which a picture of `height` by `width` patches is read, with a class token among them or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Row by row, as in memory.
    Forward,
    /// That from its end.
    Reverse,
    /// Column by column; a class token keeps its place.
    Column,
    /// That from its end.
    ColumnReverse,
    /// Squares of `side` by `side` patches one after the other, each row by row; a class token keeps its place.
    Cluster {
        /// Patches along a square.
        side: usize,
    },
}

impl Order {
    /// Row by position: `height * width` rows, and one more if a class token lies at row `token`.
    ///
    /// # Errors
    /// `Range` if the class token is past the end or there are more rows than an `i32` counts, `Value` if squares do not fill the
    /// picture.
    pub fn table(self, height: usize, width: usize, token: Option<usize>) -> Result<Vec<u32>> {
        let (op, max) = ("scan_order", i32::MAX as usize - 1);
        let patches = height.saturating_mul(width);
        if patches > max {
            return Err(Error::Range { op, arg: "height * width", max, got: patches });
        }
        if let Some(got) = token.filter(|&token| token > patches) {
            return Err(Error::Range { op, arg: "token", max: patches, got });
        }
        // Patch number to row: the class token lies before the patches that follow it.
        let row = |patch: usize| patch + usize::from(token.is_some_and(|token| patch >= token));
        let mut rows: Vec<usize> = match self {
            Order::Forward | Order::Reverse => (0..patches).map(row).collect(),
            Order::Column | Order::ColumnReverse => {
                (0..patches).map(|i| row(i % height * width + i / height)).collect()
            }
            Order::Cluster { side } => {
                if side == 0 || !height.is_multiple_of(side) || !width.is_multiple_of(side) {
                    return Err(Error::Value { op, arg: "side", want: "a divisor of both sides of the picture" });
                }
                // Of a picture without patches, any side is a divisor.
                let (across, square) = (width / side, side.saturating_mul(side));
                let patch = |i: usize| {
                    let (which, within) = (i / square, i % square);
                    (which / across * side + within / side) * width + which % across * side + within % side
                };
                (0..patches).map(|i| row(patch(i))).collect()
            }
        };
        if let Some(token) = token {
            rows.insert(token, token);
        }
        if matches!(self, Order::Reverse | Order::ColumnReverse) {
            rows.reverse();
        }
        Ok(rows.into_iter().map(|row| row as u32).collect())
    }
}

/// Scratch of the check of tables on a device: a flag, and a mark for each row of each order. Nothing without tables.
pub(crate) struct Marks<'a>(Option<SpanMut<'a, u32>>);

impl<'a> Marks<'a> {
    /// Of a call without tables.
    pub(crate) fn none() -> Self {
        Marks(None)
    }
    /// Where the flag is.
    pub(crate) fn bad(&self) -> Option<Span<'a, u32>> {
        self.0.as_ref().map(SpanMut::shared)
    }
}

impl Route {
    /// Numbers of [`Marks`].
    fn marks_len(&self) -> Result<usize> {
        if self.sequences.is_none() && self.orders.is_none() {
            return Ok(0);
        }
        let rows = self.orders.map_or(Some(0), |_| self.orders().checked_mul(self.len));
        rows.and_then(|rows| rows.checked_add(1)).ok_or(Error::TooLarge)
    }

    /// Bytes of scratch of [`Route::launch`].
    pub(crate) fn workspace(&self) -> Result<usize> {
        match self.marks_len()? {
            0 => Ok(0),
            len => len.checked_mul(4).and_then(|bytes| bytes.checked_add(256)).ok_or(Error::TooLarge),
        }
    }

    /// Check the lengths of the tables, and cut the scratch off a workspace.
    pub(crate) fn marks<'a>(
        &self,
        op: &'static str,
        tables: Tables<Span<'a, u32>>,
        workspace: &mut SpanMut<'a, u8>,
    ) -> Result<Marks<'a>> {
        for (table, want, arg) in [
            (tables.bounds, self.sequences.map(|count| count + 1), "bounds"),
            (tables.orders, self.orders.map(|orders| orders.span()), "orders"),
        ] {
            match (table, want) {
                (Some(table), Some(want)) => drop(table.holds(want, op, arg)?),
                (None, None) => {}
                (table, want) => {
                    let (want, got) = (want.unwrap_or(0), usize::from(table.is_some()));
                    return Err(Error::Size { op, arg, want, got });
                }
            }
        }
        let len = self.marks_len()?;
        Ok(Marks(if len == 0 { None } else { Some(workspace.take::<u32>(len, op)?) }))
    }

    /// The arguments that `LATENS_ROUTE_ARGS` names.
    pub(crate) fn name<'a>(
        &self,
        launch: Launch<'a>,
        tables: Tables<Span<'a, u32>>,
        bad: Option<Span<'a, u32>>,
    ) -> Launch<'a> {
        let launch = launch.read(tables.bounds).read(tables.orders).read(bad);
        launch.u64(self.stride()).u32(self.len).u32(self.sequences())
    }

    /// The launches that check the tables; of nothing without them.
    pub(crate) fn launch<'a>(
        &self,
        image: &'static Image,
        [clear, check]: [&'static str; 2],
        chip: &Chip,
        tables: Tables<Span<'a, u32>>,
        marks: &Marks<'a>,
    ) -> Result<[Launch<'a>; 2]> {
        let len = self.marks_len()?;
        let rows = self.orders.map_or(0, |_| self.orders() * self.len);
        let work = if len == 0 { 0 } else { rows.max(self.sequences()).max(1) };
        let clear = Launch::new::<u32>(image, clear).write(marks.0.as_ref()).u64(len);
        let check = self.name(Launch::new::<u32>(image, check), tables, None).u32(self.orders());
        let check = check.write(marks.0.as_ref());
        Ok([
            clear.over([len.div_ceil(256), 1, 1], 256, 0, chip)?,
            check.over([work.div_ceil(256), 1, 1], 256, 0, chip)?,
        ])
    }
}
