//! When the entropy is due, and wrong calls of it.
use latens_core::{EntropySettings, Error, Layout, Sampling, SegmentTable, Segments, Tensor, entropy, entropy_into};
use latens_kernels::entropy as family;
use latens_tests::devices;

const fn drawn(chunk: usize, stride: usize) -> Sampling {
    Sampling::Chunks { chunk, stride, seed: 7 << 40 | 3, step: 11 << 33 | 5 }
}

#[test]
fn level_one() {
    assert_eq!((0..40).filter(|&step| EntropySettings::due(0.1, step)).collect::<Vec<_>>(), [0, 10, 20, 30]);
    assert!((0..40).all(|step| EntropySettings::due(1.0, step) && !EntropySettings::due(0.0, step)));
}

#[test]
fn wrong_calls_are_errors() {
    for device in devices() {
        let x = Tensor::<f32, 1>::zeros([10], &device).unwrap();
        let table = |lengths: &[usize]| SegmentTable::new(Segments::lengths(lengths).unwrap(), &device).unwrap();
        let call = |settings: &EntropySettings| entropy(x.view(), &table(&[10]), settings).err();
        let size = Error::Size { op: "entropy", arg: "x", want: 11, got: 10 };
        assert_eq!(entropy(x.view(), &table(&[10, 1]), &EntropySettings::RELEASED).err(), Some(size));
        let value = |arg, want| Some(Error::Value { op: "entropy", arg, want });
        for bins in [0, 1, 4097] {
            assert_eq!(call(&EntropySettings { bins, ..EntropySettings::RELEASED }), value("bins", "from 2 to 4096"));
        }
        for chunk in [0, 16, 33, 2048] {
            let settings = EntropySettings { sampling: drawn(chunk, 1), ..EntropySettings::RELEASED };
            assert_eq!(call(&settings), value("chunk", "a power of two from 32 to 1024"));
        }
        for sampling in [drawn(32, 0), Sampling::Released { stride: 0 }, drawn(32, 1 << 31)] {
            assert_eq!(
                call(&EntropySettings { sampling, ..EntropySettings::RELEASED }),
                value("stride", "from 1 to 2^31 - 1")
            );
        }
        assert_eq!(call(&EntropySettings::drawn(0.0, 1, 1)), value("stride", "from 1 to 2^31 - 1"));
        let mut values = Tensor::<f32, 2>::empty([1, 7], &device).unwrap();
        let mut counts = Tensor::<u32, 2>::empty([1, 3], &device).unwrap();
        let mut workspace = Tensor::<u8, 1>::empty([1 << 20], &device).unwrap();
        let done = entropy_into(
            x.view(),
            &table(&[10]),
            &EntropySettings::RELEASED,
            values.view_mut(),
            counts.view_mut(),
            workspace.view_mut(),
        );
        assert_eq!(done, Err(Error::Size { op: "entropy", arg: "values", want: 8, got: 7 }));
    }
    let huge = Segments::lengths(&[1 << 33]).unwrap();
    let x = Layout::packed([1 << 33]).unwrap();
    assert_eq!(family::plan(&x, &huge, &EntropySettings::RELEASED).err(), Some(Error::TooLarge));
    assert!(family::plan(&x, &huge, &EntropySettings::drawn(0.25, 1, 1)).is_ok());
}
