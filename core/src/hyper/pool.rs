use super::Incidence;
use crate::{Data, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::hyper::launch::{pool as launch, select as launch_select};
use latens_kernels::hyper::{pool, select};
use latens_kernels::{Float, Result};

const POOL: &str = "hyper_pool";
const LARGEST: &str = "hyper_largest";
const BACKWARD: &str = "hyper_largest_backward";
const DOTS: &str = "hyper_dots";
const TOPK: &str = "hyper_topk";

/// Weighted sums of the members of each row: see [`latens_kernels::hyper::pool`]. Over the incidence turned over, with
/// the same `a`, it is the gradient of `x`.
pub fn hyper_pool<T: Float>(
    of: Incidence<'_>,
    a: Option<View<'_, T::Acc, 1>>,
    x: View<'_, T, 2>,
) -> Result<Tensor<T, 2>> {
    let mut y = Tensor::empty([of.shape.rows(), x.dims()[1]], &x.device())?;
    hyper_pool_into(of, a, x, y.view_mut())?;
    Ok(y)
}

/// [`hyper_pool`] into memory of the caller.
pub fn hyper_pool_into<T: Float>(
    of: Incidence<'_>,
    a: Option<View<'_, T::Acc, 1>>,
    x: View<'_, T, 2>,
    y: ViewMut<'_, T, 2>,
) -> Result<()> {
    let p = pool::plan(&of.shape, a.map(|a| a.layout()).as_ref(), &x.layout())?;
    let y = y.packed(POOL, "y", p.out())?;
    match x.data() {
        Data::Host(x) => {
            let a = a.map(|a| a.host(POOL, "a")).transpose()?;
            latens_cpu::hyper::pool::forward(&p, of.host(POOL)?, a, x, y.host(POOL, "y")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let a = a.map(|a| a.cuda(device, POOL, "a")).transpose()?;
            let (of, y) = (of.cuda(device, POOL)?, y.cuda(device, POOL, "y")?);
            device.run(&launch::sum(&p, device.chip(), of, a, x, y)?)
        }
    }
}

/// The largest of each column of `x` over the members of each row, and the number of the entry that brought it.
pub fn hyper_largest<T: Float>(
    of: Incidence<'_>,
    a: Option<View<'_, T::Acc, 1>>,
    x: View<'_, T, 2>,
) -> Result<(Tensor<T, 2>, Tensor<u32, 2>)> {
    let dims = [of.shape.rows(), x.dims()[1]];
    let (mut y, mut chosen) = (Tensor::empty(dims, &x.device())?, Tensor::empty(dims, &x.device())?);
    hyper_largest_into(of, a, x, y.view_mut(), chosen.view_mut())?;
    Ok((y, chosen))
}

/// [`hyper_largest`] into memory of the caller.
pub fn hyper_largest_into<T: Float>(
    of: Incidence<'_>,
    a: Option<View<'_, T::Acc, 1>>,
    x: View<'_, T, 2>,
    y: ViewMut<'_, T, 2>,
    chosen: ViewMut<'_, u32, 2>,
) -> Result<()> {
    let p = pool::plan(&of.shape, a.map(|a| a.layout()).as_ref(), &x.layout())?;
    let y = y.packed(LARGEST, "y", p.out())?;
    let chosen = chosen.packed(LARGEST, "chosen", p.out())?;
    match x.data() {
        Data::Host(x) => {
            let a = a.map(|a| a.host(LARGEST, "a")).transpose()?;
            let (y, chosen) = (y.host(LARGEST, "y")?, chosen.host(LARGEST, "chosen")?);
            latens_cpu::hyper::pool::largest(&p, of.host(LARGEST)?, a, x, y, chosen);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let a = a.map(|a| a.cuda(device, LARGEST, "a")).transpose()?;
            let (y, chosen) = (y.cuda(device, LARGEST, "y")?, chosen.cuda(device, LARGEST, "chosen")?);
            device.run(&launch::largest(&p, device.chip(), of.cuda(device, LARGEST)?, a, x, y, chosen)?)
        }
    }
}

/// The gradient of the `x` of [`hyper_largest`], over the incidence turned over.
pub fn hyper_largest_backward<T: Float>(
    of: Incidence<'_>,
    a: Option<View<'_, T::Acc, 1>>,
    dy: View<'_, T, 2>,
    chosen: View<'_, u32, 2>,
) -> Result<Tensor<T, 2>> {
    let mut dx = Tensor::empty([of.shape.rows(), dy.dims()[1]], &dy.device())?;
    hyper_largest_backward_into(of, a, dy, chosen, dx.view_mut())?;
    Ok(dx)
}

/// [`hyper_largest_backward`] into memory of the caller.
pub fn hyper_largest_backward_into<T: Float>(
    of: Incidence<'_>,
    a: Option<View<'_, T::Acc, 1>>,
    dy: View<'_, T, 2>,
    chosen: View<'_, u32, 2>,
    dx: ViewMut<'_, T, 2>,
) -> Result<()> {
    let (layout, placed) = (a.map(|a| a.layout()), of.places.is_some());
    let p = pool::plan_largest_backward(&of.shape, placed, layout.as_ref(), &dy.layout(), &chosen.layout())?;
    let dx = dx.packed(BACKWARD, "dx", p.out())?;
    match dy.data() {
        Data::Host(dy) => {
            let a = a.map(|a| a.host(BACKWARD, "a")).transpose()?;
            let (chosen, dx) = (chosen.host(BACKWARD, "chosen")?, dx.host(BACKWARD, "dx")?);
            latens_cpu::hyper::pool::largest_backward(&p, of.host(BACKWARD)?, a, dy, chosen, dx);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, dy) => {
            let a = a.map(|a| a.cuda(device, BACKWARD, "a")).transpose()?;
            let (chosen, dx) = (chosen.cuda(device, BACKWARD, "chosen")?, dx.cuda(device, BACKWARD, "dx")?);
            let of = of.cuda(device, BACKWARD)?;
            device.run(&launch::largest_backward(&p, device.chip(), of, a, dy, chosen, dx)?)
        }
    }
}

/// `dy[r] · x[c]` for each entry: the gradient of the `a` of [`hyper_pool`], or scores of pairs.
pub fn hyper_dots<T: Float>(of: Incidence<'_>, dy: View<'_, T, 2>, x: View<'_, T, 2>) -> Result<Tensor<T::Acc, 1>> {
    let mut da = Tensor::empty([of.shape.entries()], &x.device())?;
    hyper_dots_into(of, dy, x, da.view_mut())?;
    Ok(da)
}

/// [`hyper_dots`] into memory of the caller.
pub fn hyper_dots_into<T: Float>(
    of: Incidence<'_>,
    dy: View<'_, T, 2>,
    x: View<'_, T, 2>,
    da: ViewMut<'_, T::Acc, 1>,
) -> Result<()> {
    let p = pool::plan_dots(&of.shape, &dy.layout(), &x.layout())?;
    let da = da.packed(DOTS, "da", [of.shape.entries()])?;
    match x.data() {
        Data::Host(x) => {
            let (dy, da) = (dy.host(DOTS, "dy")?, da.host(DOTS, "da")?);
            latens_cpu::hyper::pool::dots(&p, of.host(DOTS)?, dy, x, da);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, x) => {
            let (dy, da) = (dy.cuda(device, DOTS, "dy")?, da.cuda(device, DOTS, "da")?);
            device.run(&launch::dots(&p, device.chip(), of.cuda(device, DOTS)?, dy, x, da)?)
        }
    }
}

/// The `k` members of each row with the largest scores, best first: see [`latens_kernels::hyper::select`].
pub fn hyper_topk<A: Float>(
    of: Incidence<'_>,
    scores: View<'_, A, 1>,
    k: usize,
) -> Result<(Tensor<A, 2>, Tensor<u32, 2>)> {
    let dims = select::plan(&of.shape, &scores.layout(), k)?.out();
    let (mut values, mut members) = (Tensor::empty(dims, &scores.device())?, Tensor::empty(dims, &scores.device())?);
    hyper_topk_into(of, scores, k, values.view_mut(), members.view_mut())?;
    Ok((values, members))
}

/// [`hyper_topk`] into memory of the caller.
pub fn hyper_topk_into<A: Float>(
    of: Incidence<'_>,
    scores: View<'_, A, 1>,
    k: usize,
    values: ViewMut<'_, A, 2>,
    members: ViewMut<'_, u32, 2>,
) -> Result<()> {
    let p = select::plan(&of.shape, &scores.layout(), k)?;
    let values = values.packed(TOPK, "values", p.out())?;
    let members = members.packed(TOPK, "members", p.out())?;
    match scores.data() {
        Data::Host(scores) => {
            let (values, members) = (values.host(TOPK, "values")?, members.host(TOPK, "members")?);
            latens_cpu::hyper::select::forward(&p, of.host(TOPK)?, scores, values, members);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, scores) => {
            let (values, members) = (values.cuda(device, TOPK, "values")?, members.cuda(device, TOPK, "members")?);
            device.run(&launch_select::launch(&p, device.chip(), of.cuda(device, TOPK)?, scores, values, members)?)
        }
    }
}
