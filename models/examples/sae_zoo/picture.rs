//! Frontiers as pictures: how much is lost at how many active latents.
use plotters::prelude::*;

/// One run's place.
pub struct Point {
    pub kind: String,
    pub l0: f64,
    /// Fraction of variance unexplained, and share of the loss recovered.
    pub figures: [f64; 2],
}

const NAMES: [&str; 2] = ["variance unexplained", "cross-entropy recovered"];

/// Both figures over L0, a colour for each kind, whose points are joined. As SVG.
pub fn picture(title: &str, points: &[Point]) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    let mut kinds: Vec<&str> = points.iter().map(|point| &*point.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    {
        let area = SVGBackend::with_string(&mut svg, (1160, 520)).into_drawing_area();
        area.fill(&WHITE)?;
        let (halves, legend) = area.titled(title, ("sans-serif", 20))?.split_horizontally(960);
        for (at, half) in halves.split_evenly((1, 2)).into_iter().enumerate() {
            panel(&half, at, &kinds, points)?;
        }
        for (at, kind) in kinds.iter().enumerate() {
            let y = 40 + 22 * at as i32;
            let colour = colour(at, kinds.len());
            legend.draw(&Circle::new((14, y), 5, colour.filled()))?;
            legend.draw(&Text::new(*kind, (26, y - 7), ("sans-serif", 15)))?;
        }
        area.present()?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(area: &Area<'_>, at: usize, kinds: &[&str], points: &[Point]) -> Result<(), Box<dyn std::error::Error>> {
    let range = |of: &dyn Fn(&Point) -> f64| {
        let (least, most) =
            points.iter().map(of).fold((f64::MAX, f64::MIN), |(least, most), x| (least.min(x), most.max(x)));
        let room = 0.06 * (most - least).max(1e-6);
        (least - room)..(most + room)
    };
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(range(&|point| point.l0), range(&|point| point.figures[at]))?;
    chart.configure_mesh().x_desc("active latents").y_desc(NAMES[at]).light_line_style(TRANSPARENT).draw()?;
    for (which, kind) in kinds.iter().enumerate() {
        let colour = colour(which, kinds.len());
        let mut line: Vec<(f64, f64)> =
            points.iter().filter(|point| point.kind == *kind).map(|point| (point.l0, point.figures[at])).collect();
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart.draw_series(LineSeries::new(line.clone(), colour.stroke_width(1)))?;
        chart.draw_series(line.into_iter().map(|place| Circle::new(place, 4, colour.filled())))?;
    }
    Ok(())
}

fn colour(at: usize, of: usize) -> HSLColor {
    HSLColor(at as f64 / of.max(1) as f64, 0.65, if at.is_multiple_of(2) { 0.42 } else { 0.58 })
}
