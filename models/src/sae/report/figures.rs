//! Pictures of numbers, as SVG that says the same in words.
use super::escape;
use std::fmt::Write;

const WIDTH: f64 = 280.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 20.0;

/// `said` is what the figure shows, in words.
fn open(page: &mut String, said: &str) {
    let _ = write!(
        page,
        "<figure><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{said}\">\
         <path class=axis d=\"M{LEFT} 6V{y}H{WIDTH}\"/>",
        y = HEIGHT - BOTTOM,
        said = escape(said)
    );
}

fn close(page: &mut String, label: &str) {
    let _ = write!(page, "</svg><figcaption>{}</figcaption></figure>", escape(label));
}

/// A curve through `points`, from 0 up.
pub fn line(page: &mut String, label: &str, points: &[[f64; 2]]) {
    let largest =
        |axis: usize| points.iter().map(|p| p[axis]).filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let [right, top] = [largest(0), largest(1)];
    let ends = points.first().zip(points.last());
    let said = ends.map(|([from, begin], [to, end])| format!(": from {begin:.3} at {from} to {end:.3} at {to}"));
    open(page, &format!("{label}{}", said.unwrap_or_default()));
    page.push_str("<polyline class=curve points=\"");
    for [x, y] in points {
        let across = LEFT + (WIDTH - LEFT - 4.0) * x / right;
        let _ = write!(page, "{across:.1},{:.1} ", HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 10.0) * y / top);
    }
    let foot = HEIGHT - 6.0;
    let _ = write!(
        page,
        "\"/><text x=\"{x}\" y=\"14\" text-anchor=\"end\">{top:.3}</text><text x=\"{x}\" y=\"{zero}\" text-anchor=\"end\">0</text>\
         <text x=\"{WIDTH}\" y=\"{foot}\" text-anchor=\"end\">{right}</text>",
        x = LEFT - 4.0,
        zero = HEIGHT - BOTTOM
    );
    close(page, label);
}

/// How many latents fire how often, in half powers of ten.
pub fn densities(page: &mut String, density: &[f32]) {
    const BINS: usize = 10;
    let mut bins = [0_usize; BINS];
    for &share in density.iter().filter(|&&share| share > 0.0) {
        bins[((f64::from(share).log10() + 5.0) * 2.0).clamp(0.0, BINS as f64 - 1.0) as usize] += 1;
    }
    let top = bins.iter().copied().max().unwrap_or(0).max(1);
    let label = "latents by density: share of tokens on which they fire";
    let said: Vec<String> = bins
        .iter()
        .enumerate()
        .map(|(at, count)| format!("from {:.0e} {count}", 10_f64.powf(at as f64 / 2.0 - 5.0)))
        .collect();
    open(page, &format!("{label}; {}", said.join(", ")));
    let step = (WIDTH - LEFT) / BINS as f64;
    for (at, count) in bins.into_iter().enumerate() {
        let tall = (HEIGHT - BOTTOM - 10.0) * count as f64 / top as f64;
        let _ = write!(
            page,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" class=bar><title>{count}</title></rect>",
            LEFT + step * at as f64 + 1.0,
            HEIGHT - BOTTOM - tall,
            step - 2.0
        );
        if at % 2 == 0 {
            let (x, y) = (LEFT + step * at as f64, HEIGHT - 6.0);
            let _ = write!(page, "<text x=\"{x:.1}\" y=\"{y}\">1e{}</text>", at as i32 / 2 - 5);
        }
    }
    let _ = write!(page, "<text x=\"{}\" y=\"14\" text-anchor=\"end\">{top}</text>", LEFT - 4.0);
    close(page, label);
}
