//! Host memory that is kept. Alone in its program, for it is the whole process that keeps it.
use latens::{Device, Tensor};

/// Kept memory comes back, zeros are zeros all the same, and nothing is kept before that is asked for or after.
#[test]
fn kept_memory_is_used_again() {
    const LEN: usize = 300_007; // no other test has tensors of this size
    let place = |tensor: &Tensor<f32, 1>| tensor.host().unwrap().as_ptr() as usize;
    let full = |len: usize| Tensor::from_vec(vec![7.0_f32; len], [len], &Device::Host).unwrap();
    latens::keep_memory(1 << 24);
    let first = full(LEN);
    let at = place(&first);
    drop(first);
    let second = Tensor::<f32, 1>::empty([LEN - 5], &Device::Host).unwrap();
    assert_eq!((place(&second), second.host().unwrap().len()), (at, LEN - 5));
    drop(second);
    let other = Tensor::<i32, 1>::zeros([LEN - 5], &Device::Host).unwrap();
    assert!(other.host().unwrap().as_ptr() as usize != at && other.host().unwrap().iter().all(|&x| x == 0));
    let third = Tensor::<f32, 1>::zeros([LEN], &Device::Host).unwrap();
    assert_eq!(place(&third), at);
    assert!(third.host().unwrap().iter().all(|&x| x == 0.0));
    drop(third);
    // More than the limit is not kept, and lets go of nothing.
    drop(full(1 << 23));
    assert_eq!(place(&Tensor::zeros([LEN], &Device::Host).unwrap()), at);
    // Where it would be passed, what was kept is let go.
    let parts = [full(1 << 21), full(1 << 21)];
    drop(parts);
    let (a, b) = (
        Tensor::<f32, 1>::empty([1 << 21], &Device::Host).unwrap(),
        Tensor::<f32, 1>::empty([LEN], &Device::Host).unwrap(),
    );
    assert!(a.host().unwrap().iter().all(|&x| x == 7.0) && b.host().unwrap().iter().all(|&x| x == 0.0));
    drop((a, b));
    drop(full(1 << 21));
    latens::keep_memory(0);
    drop(full(1 << 21));
    // What had been kept would be found again.
    latens::keep_memory(1 << 24);
    let after = Tensor::<f32, 1>::empty([1 << 21], &Device::Host).unwrap();
    assert!(after.host().unwrap().iter().all(|&x| x == 0.0));
}
