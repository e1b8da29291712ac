use super::{Budget, Name, Object, Pickle, Value};
use std::collections::HashMap;

type Result<T> = std::result::Result<T, String>;

/// Memory of a value, an object, a mark, a value put aside: twice their own, for what holds them grows by doubling.
const VALUE: usize = 2 * size_of::<Value>();
const OBJECT: usize = 2 * size_of::<Object>();
const MARK: usize = 2 * size_of::<usize>();
const MEMO: usize = 3 * size_of::<(u32, Value)>();
/// Memory of a text beside its bytes: two counts.
const TEXT: usize = 16;

/// The stack, marks on it, and what was put aside under a number.
struct Machine<'a> {
    budget: &'a mut Budget,
    rest: &'a [u8],
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
}

pub(super) fn run(bytes: &[u8], budget: &mut Budget) -> Result<Pickle> {
    let (stack, marks, memo, objects) = (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
    let mut machine = Machine { budget, rest: bytes, stack, marks, memo, objects };
    loop {
        let at = bytes.len() - machine.rest.len();
        let code = machine.byte()?;
        if code == b'.' {
            let top = machine.pop()?;
            return Ok(Pickle { top, objects: machine.objects });
        }
        machine.step(code).map_err(|what| format!("at byte {at}: {what}"))?;
    }
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn word(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn line(&mut self) -> Result<&'a str> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or("a line does not end")?;
        let line = self.take(end + 1)?;
        std::str::from_utf8(&line[..end]).map_err(|_| "a name is no text".into())
    }

    fn pop(&mut self) -> Result<Value> {
        // What stands before a mark belongs to somebody else.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("the stack is empty".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    /// All since the last mark.
    fn marked(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn text(&mut self, bytes: usize) -> Result<()> {
        let text = std::str::from_utf8(self.take(bytes)?).map_err(|_| "a text is not UTF-8")?;
        self.budget.pay(TEXT + text.len())?;
        self.one(Value::Text(text.into()))
    }

    fn keep(&mut self, number: u32) -> Result<()> {
        let top = self.stack.last().ok_or("the stack is empty")?.clone();
        self.budget.pay(MEMO)?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn recall(&mut self, number: u32) -> Result<()> {
        let value = self.memo.get(&number).ok_or_else(|| format!("nothing was put aside as {number}"))?.clone();
        self.one(value)
    }

    fn tuple(&mut self, count: usize) -> Result<()> {
        let mut all = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        all.reverse();
        self.fresh(Object::Tuple(all))
    }

    /// The list or dictionary on top.
    fn top(&mut self) -> Result<&mut Object> {
        match self.stack.last() {
            Some(&Value::Object(at)) => Ok(&mut self.objects[at]),
            _ => Err("neither a list nor a dictionary is on the stack".into()),
        }
    }

    fn extend(&mut self, values: Vec<Value>) -> Result<()> {
        match self.top()? {
            Object::List(list) => list.extend(values),
            Object::Tuple(_) | Object::Dict(_) => return Err("only a list has an end to append to".into()),
        }
        Ok(())
    }

    fn set(&mut self, values: Vec<Value>) -> Result<()> {
        let Object::Dict(pairs) = self.top()? else { return Err("only a dictionary has keys".into()) };
        if !values.len().is_multiple_of(2) {
            return Err("a key has no value".into());
        }
        let mut values = values.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            pairs.push((key, value));
        }
        Ok(())
    }

    /// Call a name: note what would come of it.
    fn call(&mut self) -> Result<()> {
        let (Value::Object(with), Value::Name(name)) = (self.pop()?, self.pop()?) else {
            return Err("it calls something that is no name".into());
        };
        let Some(Object::Tuple(parts)) = self.objects.get(with) else {
            return Err("it calls a name with something that is no tuple".into());
        };
        let value = match (name, &parts[..]) {
            (Name::OrderedDict, []) => return self.fresh(Object::Dict(Vec::new())),
            (Name::Size, [sizes @ Value::Object(_)]) => sizes.clone(),
            (Name::RebuildTensor, [Value::Storage(_), ..]) => Value::Tensor(with),
            (Name::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => tensor.clone(),
            _ => return Err(format!("it calls {name:?} with what that cannot take")),
        };
        self.one(value)
    }

    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            0x80 => match self.byte()? {
                2..=5 => Ok(()),
                other => Err(format!("protocol {other}, expected 2 to 5")),
            },
            0x95 => self.take(8).map(drop), // the length of a frame
            b'(' => {
                self.budget.pay(MARK)?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'N' => self.one(Value::None),
            0x88 | 0x89 => self.one(Value::Bool),
            b'J' | b'K' | b'M' | 0x8a | b'G' => self.number(code),
            b'X' => self.word().and_then(|count| self.text(count as usize)),
            0x8c => self.byte().and_then(|count| self.text(count.into())),
            b'}' => self.fresh(Object::Dict(Vec::new())),
            b']' => self.fresh(Object::List(Vec::new())),
            b')' => self.tuple(0),
            0x85..=0x87 => self.tuple(usize::from(code - 0x84)),
            b't' => {
                let all = self.marked()?;
                self.fresh(Object::Tuple(all))
            }
            b'q' => self.byte().and_then(|number| self.keep(number.into())),
            b'r' => self.word().and_then(|number| self.keep(number)),
            0x94 => self.keep(self.memo.len() as u32),
            b'h' => self.byte().and_then(|number| self.recall(number.into())),
            b'j' => self.word().and_then(|number| self.recall(number)),
            b'a' => self.pop().and_then(|value| self.extend(vec![value])),
            b'e' => self.marked().and_then(|values| self.extend(values)),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![key, value])
            }
            b'u' => self.marked().and_then(|values| self.set(values)),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.one(Value::Name(Name::of(module, name)?))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) = (module.text(), name.text()) else {
                    return Err("a name is no text".into());
                };
                let name = Name::of(module, name)?;
                self.one(Value::Name(name))
            }
            b'Q' => match self.pop()? {
                Value::Object(who) => self.one(Value::Storage(who)),
                _ => Err("it refers to something outside that is no storage".into()),
            },
            b'R' => self.call(),
            // The attributes of an object: of what is known here, a dictionary alone has some, and nobody needs them.
            b'b' => self.pop().and_then(|_| self.top().map(drop)),
            other => Err(format!("instruction {other:#04x} is none that files of weights use")),
        }
    }

    /// A value on the stack. It is paid for twice: from there it may go to an object.
    fn one(&mut self, value: Value) -> Result<()> {
        self.budget.pay(2 * VALUE)?;
        self.stack.push(value);
        Ok(())
    }

    fn fresh(&mut self, object: Object) -> Result<()> {
        self.budget.pay(OBJECT)?;
        self.one(Value::Object(self.objects.len()))?;
        self.objects.push(object);
        Ok(())
    }

    fn number(&mut self, code: u8) -> Result<()> {
        let value = match code {
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            _ => {
                let count = self.byte()?.into();
                let bytes = self.take(count)?;
                if bytes.len() > 8 {
                    return Err("a whole number has more than 64 bits".into());
                }
                let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
                let mut all = [if negative { 0xff } else { 0 }; 8];
                all[..bytes.len()].copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(all))
            }
        };
        self.one(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a file that holds nothing else.
    fn read(bytes: &[u8]) -> Result<Pickle> {
        Pickle::read(bytes, &mut Budget::of(bytes.len() as u64))
    }

    /// `{"a": (1, -2, 300, 2.5, None, True), "b": [7]}` by Python's own pickler, protocols 2 and 4.
    #[test]
    fn pythons_own() {
        let two = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01(K\x01J\xfe\xff\xff\xffM,\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88tq\x02X\x01\x00\x00\x00bq\x03]q\x04K\x07au.";
        let four = b"\x80\x04\x95)\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94(K\x01J\xfe\xff\xff\xffM,\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88t\x94\x8c\x01b\x94]\x94K\x07au.";
        for bytes in [&two[..], &four[..]] {
            let pickle = read(bytes).unwrap();
            let (_, pairs) = pickle.pairs(&pickle.top).unwrap();
            assert_eq!([0, 1].map(|at: usize| pairs[at].0.text().map(|text| &**text)), [Some("a"), Some("b")]);
            let Value::Object(a) = pairs[0].1 else { panic!("{pairs:?}") };
            let a = pickle.tuple(a);
            assert_eq!([a[0].int(), a[1].int(), a[2].int()], [Some(1), Some(-2), Some(300)]);
            assert!(matches!(a[3..], [Value::Float(2.5), Value::None, Value::Bool]));
        }
    }

    #[test]
    fn nothing_is_called() {
        let wrong = |bytes: &[u8]| read(bytes).unwrap_err();
        assert!(wrong(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.").contains("os.system"));
        assert!(wrong(b"\x80\x04\x8c\x02os\x8c\x06system\x93.").contains("os.system"));
        // An instance, by any of the ways there are.
        for code in [0x81, 0x92, b'i', b'o', b'P'] {
            assert!(wrong(&[0x80, 2, code]).contains("is none that files of weights use"));
        }
        assert!(wrong(b"\x80\x02K\x01K\x02\x85R.").contains("no name"));
        assert!(wrong(b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.").contains("cannot take"));
    }

    #[test]
    fn what_does_not_end_or_has_no_ground() {
        for bytes in [
            &b""[..],
            b"\x80",
            b"\x80\x02",
            b"\x80\x02X\xff\xff\xff\xffa",
            b"\x80\x02.",
            b"\x80\x02t.",
            b"\x80\x02(0.",
            b"\x80\x02h\x07.",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        // A list that holds itself is a value like any other, and so is a tuple of a tuple of a tuple, a million times.
        assert!(read(b"\x80\x02]q\x00h\x00a.").is_ok());
        let deep = [&b"\x80\x02)"[..], &[0x85; 1_000_000], b"."].concat();
        drop(Pickle::read(&deep, &mut Budget::of(1 << 30)).unwrap());
        // In a file of nothing else, each of these instructions of a byte or two asks for far more memory than it may.
        for dense in [&b"N"[..], b")", b"]", b"}", b"(", b"\x94N", b"]Na", b"\x8c\x00"] {
            let bytes = [&b"\x80\x02N"[..], &dense.repeat(1 << 17), b"."].concat();
            let said = read(&bytes).unwrap_err();
            assert!(said.contains("bytes of memory"), "{dense:?}: {said}");
        }
    }
}
