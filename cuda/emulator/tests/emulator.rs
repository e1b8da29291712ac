//! The emulator catches what it is there to catch: each kernel of `wrong.cu` is refused or gives wrong numbers.
mod driver;
use driver::{Driver, INVALID_VALUE, LAUNCH_FAILED, Value::*, call};
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The device is one, and a failure is of the whole device: one test at a time.
fn alone() -> (MutexGuard<'static, ()>, Driver) {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (guard, Driver::open(&latens_emulator::library(), None))
}

fn fails(driver: &Driver, kernel: &str, threads: u32, says: &str) {
    let y = driver.upload(&[0_u32; 64]);
    assert_eq!(driver.launch(kernel, 1, threads, 256, &[Memory(y), Memory(y)]), LAUNCH_FAILED, "{kernel}");
    let report = driver.report();
    assert!(report.contains(says) && report.contains(kernel), "{kernel}: {report}");
    // As on a device, nothing works after it.
    assert_eq!(driver.launch("right_barrier", 1, 64, 256, &[Memory(y)]), LAUNCH_FAILED);
    driver.reset();
}

#[test]
fn a_missing_barrier_is_seen_in_every_order() {
    let (_guard, driver) = alone();
    let right: Vec<u32> = (0..64).map(|i| i ^ 1).collect();
    for order in [0, 1, 7, 8] {
        driver.order(order);
        for (kernel, ok) in [("right_barrier", true), ("wrong_no_barrier", false)] {
            let y = driver.upload(&[0_u32; 64]);
            assert_eq!(driver.launch(kernel, 1, 64, 256, &[Memory(y)]), 0);
            assert_eq!(driver.download::<u32>(y, 64) == right, ok, "{kernel} in order {order}");
        }
    }
    driver.order(0);
}

#[test]
fn broken_rules_are_reported() {
    let (_guard, driver) = alone();
    for order in [0, 1, 7] {
        driver.order(order);
        fails(&driver, "wrong_divergent_barrier", 32, "0..15 wait in __syncthreads; 16..31 wait in __ballot_sync");
        fails(&driver, "wrong_mask", 32, "does not name it");
        fails(&driver, "wrong_masks_differ", 32, "masks");
        fails(&driver, "wrong_returned_lane", 32, "returned");
        fails(&driver, "wrong_operations_meet", 32, "meet");
        fails(&driver, "wrong_unaligned_copy", 32, "cp.async");
    }
    driver.order(0);
}

#[test]
fn a_copy_that_is_not_waited_for_has_not_arrived() {
    let (_guard, driver) = alone();
    let (x, y) = (driver.upload(&[1_u32, 2, 3, 4]), driver.upload(&[0_u32; 4]));
    assert_eq!(driver.launch("wrong_no_wait", 1, 32, 16, &[Memory(x), Memory(y)]), 0);
    assert_eq!(driver.download::<u32>(y, 4), [u32::MAX; 4], "the poison of shared memory");
}

#[test]
fn waiting_loops_end() {
    let (_guard, driver) = alone();
    for order in [0, 1, 7] {
        driver.order(order);
        let y = driver.upload(&[0_u32]);
        assert_eq!(driver.launch("right_wait", 1, 64, 0, &[Memory(y)]), 0);
    }
    driver.order(0);
}

#[test]
fn geometry_and_signatures_are_checked() {
    let (_guard, driver) = alone();
    let y = driver.upload(&[0_u32; 64]);
    // More threads than the bound of the kernel, no blocks, more shared memory than was opted into.
    for (blocks, threads, shared) in [(1, 65, 0), (0, 64, 0), (1, 64, (48 << 10) + 1)] {
        assert_eq!(driver.launch("right_barrier", blocks, threads, shared, &[Memory(y)]), INVALID_VALUE);
    }
    let function = driver.function("right_sizes");
    let sizes: Vec<(usize, usize)> = (0..)
        .map_while(|i| {
            let (mut offset, mut size) = (0, 0);
            let code = call!(driver, cuFuncGetParamInfo(function => *mut c_void, i => usize, &mut offset => &mut usize, &mut size => &mut usize));
            (code == 0).then_some((offset, size))
        })
        .collect();
    assert_eq!(sizes, [(0, 8), (8, 4), (16, 8), (24, 4)]);
    let mut to = [0_u32; 65];
    let code: c_int = call!(driver, cuMemcpyDtoH_v2(to.as_mut_ptr().cast() => *mut u8, y => u64, 65 * 4 => usize));
    assert_eq!(code, INVALID_VALUE, "a copy past the end");
}

/// Ends the process when the emulator is built with the address sanitizer; CI expects that.
#[test]
#[ignore = "wrong on purpose, for the address sanitizer"]
fn past_the_end() {
    let (_guard, driver) = alone();
    let y = driver.upload(&[0_u32; 3]);
    driver.launch("wrong_past_the_end", 1, 32, 0, &[Memory(y), U32(3)]);
}
