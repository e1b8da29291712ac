/// What a result does to the contents of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    /// It takes their place; they are not read, and may be anything.
    Replace,
    /// It is added to them.
    Add,
}
