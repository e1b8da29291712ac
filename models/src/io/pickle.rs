//! Pickles, as far as files of weights use them. No code of a file runs: what a pickle would call is one of a few known
//! names, or an error, and even these are only noted. A pickle is a program for a machine with a stack; here is that machine
//! without its dangerous instructions, after the documentation in Python's `pickletools`, protocols 2 to 5.
//!
//! Every instruction takes at least a byte and puts at most one value on the stack. Lists, dictionaries and tuples are kept
//! once and referred to by number, so memory grows with the length of the pickle, and values that hold themselves, or each
//! other a million deep, do no harm. A byte may still make a value of fifty: each is [paid for](Budget).
mod machine;

use super::budget::Budget;
use super::short;
use std::sync::Arc;

/// Something that a pickle says.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// The number of a list, tuple or dictionary of [`Pickle`].
    Object(usize),
    /// A name that a pickle calls.
    Name(Name),
    /// Memory of tensors: the tuple says who it is.
    Storage(usize),
    /// The tuple of what it is made of.
    Tensor(usize),
}

/// The names that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    /// A type of memory, as in `torch.FloatStorage`.
    Storage(&'static str),
}

/// What a pickle says: a value, and the lists, tuples and dictionaries in it.
#[derive(Debug)]
pub(super) struct Pickle {
    pub top: Value,
    objects: Vec<Object>,
}

/// A list or tuple, or the pairs of a dictionary, in order.
#[derive(Debug)]
enum Object {
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
}

impl Pickle {
    /// Read one, or say what is wrong with it. All that it makes is paid for.
    pub fn read(bytes: &[u8], budget: &mut Budget) -> Result<Self, String> {
        machine::run(bytes, budget)
    }

    /// The pairs of a dictionary, and its number.
    pub fn pairs(&self, value: &Value) -> Option<(usize, &[(Value, Value)])> {
        match value {
            Value::Object(at) => match self.objects.get(*at)? {
                Object::Dict(pairs) => Some((*at, pairs)),
                Object::List(_) | Object::Tuple(_) => None,
            },
            _ => None,
        }
    }

    /// The parts of a tuple.
    pub fn tuple(&self, at: usize) -> &[Value] {
        match self.objects.get(at) {
            Some(Object::Tuple(parts)) => parts,
            _ => &[],
        }
    }

    /// Sizes in a tuple, of no more dimensions than tensors have.
    pub fn sizes(&self, value: &Value) -> Option<Vec<usize>> {
        const MOST: usize = 8;
        let Value::Object(at) = value else { return None };
        let all = match self.objects.get(*at)? {
            Object::Tuple(all) if all.len() <= MOST => all,
            _ => return None,
        };
        all.iter().map(|one| one.int().and_then(|one| usize::try_from(one).ok())).collect()
    }
}

impl Value {
    /// A text as short as names are.
    pub fn text(&self) -> Option<&Arc<str>> {
        const MOST: usize = 1024;
        match self {
            Value::Text(text) if text.len() <= MOST => Some(text),
            _ => None,
        }
    }

    pub fn int(&self) -> Option<i64> {
        if let Value::Int(int) = self { Some(*int) } else { None }
    }
}

/// Every name with its module.
const NAMES: [(&str, &str, Name); 14] = [
    ("collections", "OrderedDict", Name::OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2", Name::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Name::RebuildParameter),
    ("torch", "Size", Name::Size),
    ("torch", "FloatStorage", Name::Storage("FloatStorage")),
    ("torch", "DoubleStorage", Name::Storage("DoubleStorage")),
    ("torch", "HalfStorage", Name::Storage("HalfStorage")),
    ("torch", "BFloat16Storage", Name::Storage("BFloat16Storage")),
    ("torch", "LongStorage", Name::Storage("LongStorage")),
    ("torch", "IntStorage", Name::Storage("IntStorage")),
    ("torch", "ShortStorage", Name::Storage("ShortStorage")),
    ("torch", "CharStorage", Name::Storage("CharStorage")),
    ("torch", "ByteStorage", Name::Storage("ByteStorage")),
    ("torch", "BoolStorage", Name::Storage("BoolStorage")),
];

impl Name {
    fn of(module: &str, name: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|known| (known.0, known.1) == (module, name));
        known.map(|known| known.2).ok_or_else(|| {
            format!("it calls {}.{}, which no file of weights needs, and nothing was run", short(module), short(name))
        })
    }
}
