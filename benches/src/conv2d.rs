//! Part of `compare models`: convolutions of images, beside PyTorch's of the same memory: channels last.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens_core::{Accumulate, Conv2d, Device, Tensor, conv2d_backward_into, conv2d_into};
use serde_json::json;

/// A convolution of square images.
struct Case {
    batch: usize,
    size: usize,
    channels: usize,
    n: usize,
    taps: usize,
    stride: usize,
    padding: usize,
    /// Whether the gradient for the image is wanted: not where it is the input of a model.
    image: bool,
}

const CASES: [Case; 2] = [
    // The patches of a vision transformer.
    Case { batch: 8, size: 224, channels: 3, n: 384, taps: 16, stride: 16, padding: 0, image: false },
    // A layer of a residual network.
    Case { batch: 8, size: 56, channels: 64, n: 64, taps: 3, stride: 1, padding: 1, image: true },
];

/// All rows, each given to `show` when it is there.
pub fn compare(torch: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    CASES.iter().try_for_each(|case| conv2d(torch, case, show))
}

fn agree<const R: usize>(name: &str, ours: &Tensor<f32, R>, theirs: &[f32]) -> Result<()> {
    let off = disagreement(ours.host().ok_or("not on the host")?, theirs);
    if off > 1e-9 { Err(format!("conv2d: {name} disagrees with PyTorch: {off:e}").into()) } else { Ok(()) }
}

fn conv2d(torch: &mut Peer, case: &Case, show: &mut dyn FnMut(Row)) -> Result<()> {
    let &Case { batch, size, channels, n, taps, stride, padding, image } = case;
    let (dir, host) = (Exchange::new()?, &Device::Host);
    let out = (size + 2 * padding - taps) / stride + 1;
    let tensor = |name: &str, dims: [usize; 4], seed: u64| -> Result<Tensor<f32, 4>> {
        let numbers = normal(dims.iter().product(), seed);
        dir.put(name, &numbers)?;
        Ok(Tensor::from_vec(numbers, dims, host)?)
    };
    let x = tensor("x", [batch, size, size, channels], 1)?;
    let w = tensor("w", [n, taps, taps, channels], 2)?;
    let dy = tensor("dy", [batch, out, out, n], 3)?;
    let bias = normal(n, 4);
    dir.put("bias", &bias)?;
    let bias = Tensor::<f32, 1>::from_vec(bias, [n], host)?;
    let how = Conv2d { stride: [stride; 2], padding: [padding; 2], ..Conv2d::default() };
    let dims = json!({
        "batch": batch, "size": size, "channels": channels, "n": n, "taps": taps, "stride": stride, "padding": padding,
        "out": out, "image": image,
    });
    let mut y = Tensor::<f32, 4>::empty(dy.dims(), host)?;
    let forward = |y: &mut Tensor<f32, 4>| -> Result<()> {
        Ok(conv2d_into(x.view(), w.view(), Some(bias.view()), how, y.view_mut())?)
    };
    let products = (2 * y.layout().len() * taps * taps * channels) as f64;
    let row = |name, (ours_ms, peer_ms): (f64, f64), peer: String, products: f64| {
        let shape = format!("{batch}x{size}²x{channels}, {n}x{taps}²/{stride}");
        let rate = Some(("GFLOP/s", products / ours_ms / 1e6));
        Row { name, shape, dtype: "f32", device: "cpu".into(), ours_ms, peer, peer_ms, bar: None, rate }
    };

    torch.setup("conv2d", dir.path(), &dims, "f32")?;
    forward(&mut y)?;
    agree("y", &y, &dir.get("y", "torch")?)?;
    let times = torch.race(|| forward(&mut y))?;
    show(row("conv2d", times, torch.name.clone(), products));

    torch.setup("conv2d_gradient", dir.path(), &dims, "f32")?;
    let (mut dx, mut dw) = (Tensor::<f32, 4>::empty(x.dims(), host)?, Tensor::<f32, 4>::empty(w.dims(), host)?);
    let (mut db, mut none) = (Tensor::<f32, 1>::empty([n], host)?, Tensor::empty([0], host)?);
    let mut both = || -> Result<()> {
        forward(&mut y)?;
        let (dx, dw, db) = (image.then(|| dx.view_mut()), Some(dw.view_mut()), Some(db.view_mut()));
        let (x, w, dy) = (x.view(), w.view(), dy.view());
        Ok(conv2d_backward_into(x, w, dy, how, Accumulate::Replace, dx, dw, db, none.view_mut())?)
    };
    both()?;
    let times = torch.race(&mut both)?;
    agree("dw", &dw, &dir.get("dw", "torch")?)?;
    agree("db", &db, &dir.get("db", "torch")?)?;
    if image {
        agree("dx", &dx, &dir.get("dx", "torch")?)?;
    }
    let peer = format!("{}, forward and backward", torch.name);
    show(row("conv2d_gradient", times, peer, if image { 3.0 } else { 2.0 } * products));
    Ok(())
}
