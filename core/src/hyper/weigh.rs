use super::{Degree, Incidence, Weigh};
use crate::{Data, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::hyper::launch::pool as launch;
use latens_kernels::hyper::{degree, weigh};
use latens_kernels::{Float, Result};

const WEIGH: &str = "hyper_weigh";
const DEGREE: &str = "hyper_degree";

type Numbers<'a, A> = Option<View<'a, A, 1>>;

fn plan<A: Float>(
    of: &Incidence<'_>,
    how: Weigh,
    values: &Numbers<'_, A>,
    columns: &Numbers<'_, A>,
    rows: &Numbers<'_, A>,
) -> Result<weigh::Plan> {
    let [values, columns, rows] = [values, columns, rows].map(|numbers| numbers.map(|numbers| numbers.layout()));
    weigh::plan(&of.shape, how, values.as_ref(), columns.as_ref(), rows.as_ref())
}

fn host<'a, A: Float>(numbers: Numbers<'a, A>, op: &'static str, arg: &'static str) -> Result<Option<&'a [A]>> {
    numbers.map(|numbers| numbers.host(op, arg)).transpose()
}

/// How the members of each row share in it: see [`latens_kernels::hyper::weigh`]. `values` go by number of entry, and so
/// do the coefficients that come out.
pub fn hyper_weigh<A: Float>(
    of: Incidence<'_>,
    how: Weigh,
    values: Option<View<'_, A, 1>>,
    columns: Option<View<'_, A, 1>>,
    rows: Option<View<'_, A, 1>>,
) -> Result<Tensor<A, 1>> {
    let mut a = Tensor::empty([of.shape.entries()], &of.offsets.device())?;
    hyper_weigh_into(of, how, values, columns, rows, a.view_mut())?;
    Ok(a)
}

/// [`hyper_weigh`] into memory of the caller.
pub fn hyper_weigh_into<A: Float>(
    of: Incidence<'_>,
    how: Weigh,
    values: Option<View<'_, A, 1>>,
    columns: Option<View<'_, A, 1>>,
    rows: Option<View<'_, A, 1>>,
    a: ViewMut<'_, A, 1>,
) -> Result<()> {
    let p = plan(&of, how, &values, &columns, &rows)?;
    let a = a.packed(WEIGH, "a", [of.shape.entries()])?;
    match of.offsets.data() {
        Data::Host(_) => {
            let (values, columns) = (host(values, WEIGH, "values")?, host(columns, WEIGH, "columns")?);
            let terms = weigh::Terms { values, columns, rows: host(rows, WEIGH, "rows")? };
            latens_cpu::hyper::weigh::forward(&p, of.host(WEIGH)?, terms, a.host(WEIGH, "a")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, _) => {
            let columns = columns.map(|columns| columns.cuda(device, WEIGH, "columns")).transpose()?;
            let values = values.map(|values| values.cuda(device, WEIGH, "values")).transpose()?;
            let rows = rows.map(|rows| rows.cuda(device, WEIGH, "rows")).transpose()?;
            let terms = launch::Terms { values, columns, rows };
            let a = a.cuda(device, WEIGH, "a")?;
            device.run(&launch::forward(&p, device.chip(), of.cuda(device, WEIGH)?, terms, a)?)
        }
    }
}

/// The gradient of the `values` of [`hyper_weigh`] from that of its coefficients.
pub fn hyper_weigh_backward<A: Float>(
    of: Incidence<'_>,
    how: Weigh,
    values: Option<View<'_, A, 1>>,
    columns: Option<View<'_, A, 1>>,
    rows: Option<View<'_, A, 1>>,
    da: View<'_, A, 1>,
) -> Result<Tensor<A, 1>> {
    let mut dvalues = Tensor::empty([of.shape.entries()], &of.offsets.device())?;
    hyper_weigh_backward_into(of, how, values, columns, rows, da, dvalues.view_mut())?;
    Ok(dvalues)
}

/// [`hyper_weigh_backward`] into memory of the caller.
pub fn hyper_weigh_backward_into<A: Float>(
    of: Incidence<'_>,
    how: Weigh,
    values: Option<View<'_, A, 1>>,
    columns: Option<View<'_, A, 1>>,
    rows: Option<View<'_, A, 1>>,
    da: View<'_, A, 1>,
    dvalues: ViewMut<'_, A, 1>,
) -> Result<()> {
    let p = plan(&of, how, &values, &columns, &rows)?;
    plan(&of, how, &Some(da), &None, &None)?;
    let dvalues = dvalues.packed(WEIGH, "dvalues", [of.shape.entries()])?;
    match of.offsets.data() {
        Data::Host(_) => {
            let (values, columns) = (host(values, WEIGH, "values")?, host(columns, WEIGH, "columns")?);
            let terms = weigh::Terms { values, columns, rows: host(rows, WEIGH, "rows")? };
            let (da, dvalues) = (da.host(WEIGH, "da")?, dvalues.host(WEIGH, "dvalues")?);
            latens_cpu::hyper::weigh::backward(&p, of.host(WEIGH)?, terms, da, dvalues);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, _) => {
            let columns = columns.map(|columns| columns.cuda(device, WEIGH, "columns")).transpose()?;
            let values = values.map(|values| values.cuda(device, WEIGH, "values")).transpose()?;
            let rows = rows.map(|rows| rows.cuda(device, WEIGH, "rows")).transpose()?;
            let terms = launch::Terms { values, columns, rows };
            let (da, dvalues) = (da.cuda(device, WEIGH, "da")?, dvalues.cuda(device, WEIGH, "dvalues")?);
            device.run(&launch::backward(&p, device.chip(), of.cuda(device, WEIGH)?, terms, da, dvalues)?)
        }
    }
}

/// How much belongs to each row, or what is made of that: see [`latens_kernels::hyper::degree`].
pub fn hyper_degree<A: Float>(
    of: Incidence<'_>,
    how: Degree,
    values: Option<View<'_, A, 1>>,
    columns: Option<View<'_, A, 1>>,
) -> Result<Tensor<A, 1>> {
    let mut out = Tensor::empty([of.shape.rows()], &of.offsets.device())?;
    hyper_degree_into(of, how, values, columns, out.view_mut())?;
    Ok(out)
}

/// [`hyper_degree`] into memory of the caller.
pub fn hyper_degree_into<A: Float>(
    of: Incidence<'_>,
    how: Degree,
    values: Option<View<'_, A, 1>>,
    columns: Option<View<'_, A, 1>>,
    out: ViewMut<'_, A, 1>,
) -> Result<()> {
    let [of_values, of_columns] = [&values, &columns].map(|numbers| numbers.map(|numbers| numbers.layout()));
    let p = degree::plan(&of.shape, how, of_values.as_ref(), of_columns.as_ref())?;
    let out = out.packed(DEGREE, "out", [of.shape.rows()])?;
    match of.offsets.data() {
        Data::Host(_) => {
            let (values, columns) = (host(values, DEGREE, "values")?, host(columns, DEGREE, "columns")?);
            latens_cpu::hyper::degree::forward(&p, of.host(DEGREE)?, values, columns, out.host(DEGREE, "out")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, _) => {
            let values = values.map(|values| values.cuda(device, DEGREE, "values")).transpose()?;
            let columns = columns.map(|columns| columns.cuda(device, DEGREE, "columns")).transpose()?;
            let (of, out) = (of.cuda(device, DEGREE)?, out.cuda(device, DEGREE, "out")?);
            device.run(&launch::degrees(&p, device.chip(), of, values, columns, out)?)
        }
    }
}
