//! Wrong calls are errors, before anything is read by them.
use crate::table;
use latens_core::{Error, Layout, Segment, SegmentTable, Segments, Tensor, lowrank_left, lowrank_orthogonalise};
use latens_kernels::lowrank as family;
use latens_tests::devices;

#[test]
fn wrong_calls_are_errors() {
    let segments = table(&[[4, 6]]);
    let rank = Error::Range { op: "lowrank", arg: "rank", max: 4, got: 5 };
    assert_eq!(family::plan(&segments, 5).err(), Some(rank));
    for device in devices() {
        let table = SegmentTable::new(segments.clone(), &device).unwrap();
        let zeros = |n| Tensor::<f32, 1>::zeros([n], &device).unwrap();
        let factor = |dims| Tensor::<f32, 2>::zeros(dims, &device).unwrap();
        let size = |arg, want, got| Some(Error::Size { op: "lowrank_left", arg, want, got });
        let left = |g: usize, e: usize, q: [usize; 2]| {
            lowrank_left(&table, zeros(g).view(), zeros(e).view_mut(), factor(q).view()).err()
        };
        assert_eq!(left(25, 26, [6, 2]), size("g", 26, 25));
        assert_eq!(left(26, 25, [6, 2]), size("e", 26, 25));
        assert_eq!(left(26, 26, [7, 2]), size("q", 6, 7));
        assert_eq!(left(26, 26, [6, 5]), Some(rank));
        let mut p = factor([3, 2]);
        let short = Error::Size { op: "lowrank_orthogonalise", arg: "p", want: 4, got: 3 };
        assert_eq!(lowrank_orthogonalise(&table, p.view_mut(), 0), Err(short));
    }
    // Offsets past 31 and 32 bits, by arithmetic alone.
    let far = Segments::new(vec![
        Segment { start: (1 << 33) + 1, rows: 1 << 17, columns: 1 << 17 },
        Segment { start: 1 << 35, rows: 3, columns: 3 },
    ])
    .unwrap();
    let plan = family::plan(&far, 2).unwrap();
    assert_eq!(plan.p(), [(1 << 17) + 3, 2]);
    let short = Layout::packed([(1 << 35) + 8]).unwrap();
    let want = Error::Size { op: "test", arg: "g", want: (1 << 35) + 9, got: (1 << 35) + 8 };
    assert_eq!(plan.covers("test", "g", &short), Err(want));
    assert_eq!(plan.matrices().last().unwrap().column, 1 << 17);
    let tall = Segments::new(vec![Segment { start: 0, rows: 1 << 31, columns: 1 }]).unwrap();
    assert_eq!(
        family::plan(&tall, 1).err(),
        Some(Error::Range { op: "lowrank", arg: "rows", max: (1 << 31) - 1, got: 1 << 31 })
    );
}
