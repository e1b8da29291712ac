use crate::{Element, Error, Result, Span, SpanMut};
use core::marker::PhantomData;

/// The compiled device code of one family: a fat binary with real code and PTX.
#[derive(Debug)]
pub struct Image {
    /// The family.
    pub name: &'static str,
    /// What the driver loads.
    pub bytes: &'static [u8],
}

/// What the geometry of a launch may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Chip {
    /// Compute capability, as in `(9, 0)`.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Dynamic shared memory that one block may use, in bytes.
    pub shared: u32,
}

/// One argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// Device memory, by its address; 0 is a null pointer.
    Memory(u64),
    /// A number.
    U32(u32),
    /// A number.
    U64(u64),
    /// A number.
    F32(f32),
}

/// One kernel call as a value: what runs, over which blocks, with which arguments. Only a family makes one, after it
/// has checked every length, so whoever executes it need not look inside. An empty grid is a launch of nothing.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    image: &'static Image,
    entry: (&'static str, &'static str),
    grid: [u32; 3],
    block: u32,
    shared: u32,
    args: [Arg; Launch::ARGS],
    count: usize,
    device: Option<u64>,
    fault: Option<Error>,
    borrow: PhantomData<&'a [u8]>,
}

impl Launch<'_> {
    /// The most arguments that a kernel takes.
    pub const ARGS: usize = 56;
}

impl<'a> Launch<'a> {
    /// Kernel `kernel` of `image`, in its variant for elements `T`. The arguments follow in the order of its signature.
    pub(crate) fn new<T: Element>(image: &'static Image, kernel: &'static str) -> Self {
        let (symbol, fault) =
            (T::SYMBOL.unwrap_or_default(), Error::Type { op: image.name, arg: kernel, got: T::DTYPE });
        Self {
            image,
            entry: (kernel, symbol),
            grid: [0; 3],
            block: 0,
            shared: 0,
            args: [Arg::U32(0); Launch::ARGS],
            count: 0,
            device: None,
            fault: T::SYMBOL.is_none().then_some(fault),
            borrow: PhantomData,
        }
    }

    /// `const T*`, null for `None`.
    pub(crate) fn read<T: Element>(mut self, span: impl Into<Option<Span<'a, T>>>) -> Self {
        let span = span.into();
        let device = span.map(|span| span.device);
        if self.device.or(device) != device.or(self.device) {
            self.fault = self.fault.or(Some(Error::Device { op: self.image.name, arg: self.entry.0 }));
        }
        self.device = self.device.or(device);
        self.arg(Arg::Memory(span.map_or(0, |span| span.address)))
    }

    /// `T*`, null for `None`.
    pub(crate) fn write<'b, T: Element>(self, span: impl Into<Option<&'b SpanMut<'a, T>>>) -> Self
    where
        'a: 'b,
    {
        self.read(span.into().map(SpanMut::shared))
    }

    /// `u32`; a number that does not fit is an error of the launch.
    pub(crate) fn u32(mut self, number: usize) -> Self {
        if u32::try_from(number).is_err() {
            self.fault = self.fault.or(Some(Error::TooLarge));
        }
        self.arg(Arg::U32(number as u32))
    }

    /// `u64`.
    pub(crate) fn u64(self, number: usize) -> Self {
        self.arg(Arg::U64(number as u64))
    }

    /// `f32`.
    pub(crate) fn f32(self, number: f32) -> Self {
        self.arg(Arg::F32(number))
    }

    /// The geometry, which completes the launch.
    pub(crate) fn over(self, [x, y, z]: [usize; 3], block: u32, shared: usize, chip: &Chip) -> Result<Self> {
        if x > i32::MAX as usize || y > 65_535 || z > 65_535 || shared > chip.shared as usize {
            return Err(Error::TooLarge);
        }
        let done = Self { grid: [x as u32, y as u32, z as u32], block, shared: shared as u32, ..self };
        self.fault.map_or(Ok(done), Err)
    }

    fn arg(mut self, arg: Arg) -> Self {
        self.args[self.count] = arg;
        self.count += 1;
        self
    }

    /// The device code to load.
    pub fn image(&self) -> &'static Image {
        self.image
    }
    /// The two halves of the symbol: `("topk_search", "f32")` is `topk_search_f32`.
    pub fn entry(&self) -> (&'static str, &'static str) {
        self.entry
    }
    /// Blocks; nothing runs if one of the sizes is zero.
    pub fn grid(&self) -> [u32; 3] {
        self.grid
    }
    /// Threads of a block.
    pub fn block(&self) -> u32 {
        self.block
    }
    /// Bytes of dynamic shared memory.
    pub fn shared(&self) -> u32 {
        self.shared
    }
    /// The arguments, in order.
    pub fn args(&self) -> &[Arg] {
        &self.args[..self.count]
    }
    /// The device that owns the memory, as the spans named it.
    pub fn device(&self) -> Option<u64> {
        self.device
    }
}
