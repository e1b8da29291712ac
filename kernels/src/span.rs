use crate::{Element, Error, Result};
use core::marker::PhantomData;

/// Borrowed device memory: where it is, how many elements, and whose.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a, T> {
    pub(crate) address: u64,
    pub(crate) device: u64,
    len: usize,
    borrow: PhantomData<&'a [T]>,
}

/// Borrowed device memory, for writing.
#[derive(Debug)]
pub struct SpanMut<'a, T> {
    span: Span<'a, T>,
    borrow: PhantomData<&'a mut [T]>,
}

impl<'a, T: Element> Span<'a, T> {
    /// Name memory of a device. `device` is any number that stands for one context and stream: spans of different
    /// numbers never meet in one launch.
    ///
    /// # Safety
    /// For `'a`, `address` is aligned for `T` and starts `len` elements of memory that `device` may read, and nothing
    /// but work ordered on the stream of `device` writes there.
    #[allow(unsafe_code)] // a declaration, the only one: see the head of the crate
    pub const unsafe fn new(address: u64, len: usize, device: u64) -> Self {
        Self { address, device, len, borrow: PhantomData }
    }

    /// The number of its device.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// The part from `offset` on; nothing if that is past the end.
    pub fn from(self, offset: usize) -> Self {
        let offset = offset.min(self.len);
        Self { address: self.address + (offset * size_of::<T>()) as u64, len: self.len - offset, ..self }
    }

    /// The memory, if it holds the `want` elements that `arg` of `op` needs.
    pub(crate) fn holds(self, want: usize, op: &'static str, arg: &'static str) -> Result<Self> {
        if self.len < want { Err(Error::Size { op, arg, want, got: self.len }) } else { Ok(self) }
    }
}

impl<'a, T: Element> SpanMut<'a, T> {
    /// [`Span::new`] for memory that is written.
    ///
    /// # Safety
    /// As [`Span::new`]; the memory is writable and no other span of `'a` covers it.
    #[allow(unsafe_code)] // as above
    pub const unsafe fn new(address: u64, len: usize, device: u64) -> Self {
        let span = Span { address, device, len, borrow: PhantomData };
        Self { span, borrow: PhantomData }
    }

    /// The number of its device.
    pub fn device(&self) -> u64 {
        self.span.device
    }

    /// The part from `offset` on; nothing if that is past the end.
    pub fn from(self, offset: usize) -> Self {
        Self { span: self.span.from(offset), ..self }
    }

    /// The same memory, for a shorter time.
    pub fn reborrow(&mut self) -> SpanMut<'_, T> {
        SpanMut { span: Span { borrow: PhantomData, ..self.span }, borrow: PhantomData }
    }

    pub(crate) fn holds(self, want: usize, op: &'static str, arg: &'static str) -> Result<Self> {
        Ok(Self { span: self.span.holds(want, op, arg)?, ..self })
    }

    /// The same memory for reading, for a shorter time.
    pub fn read(&self) -> Span<'_, T> {
        self.shared()
    }

    /// The same memory for the launches of one operation, which run one after the other.
    pub(crate) fn shared(&self) -> Span<'a, T> {
        self.span
    }
}

impl<'a> SpanMut<'a, u8> {
    /// Cut `len` elements off the front of a workspace, on a boundary of 256 bytes.
    pub(crate) fn take<U: Element>(&mut self, len: usize, op: &'static str) -> Result<SpanMut<'a, U>> {
        let Span { address, device, len: have, .. } = self.span;
        let start = address.next_multiple_of(256);
        let bytes = len.checked_mul(size_of::<U>()).ok_or(Error::TooLarge)?;
        let used = bytes.checked_add((start - address) as usize).ok_or(Error::TooLarge)?;
        self.span.holds(used, op, "workspace")?;
        (self.span.address, self.span.len) = (address + used as u64, have - used);
        let span = Span { address: start, device, len, borrow: PhantomData };
        Ok(SpanMut { span, borrow: PhantomData })
    }
}
