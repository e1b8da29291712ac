//! The course of training as a picture.
use latens::train::Progress;
use plotters::prelude::*;

/// Steps that are averaged for one point.
const AVERAGED: usize = 20;
const COLOURS: [RGBColor; 2] = [RGBColor(31, 100, 180), RGBColor(214, 110, 20)];

/// A model's part of the picture.
pub struct Curve<'a> {
    pub name: &'a str,
    pub course: &'a [Progress],
    pub held_out: f64,
}

/// Losses by step, as SVG: means of some steps as lines, held-out losses and the baseline as levels.
pub fn picture(curves: &[Curve<'_>], baseline: f64) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    let steps = curves.iter().map(|curve| curve.course.len()).max().unwrap_or(0).max(1) as f64;
    let points = |curve: &Curve<'_>| -> Vec<(f64, f64)> {
        let chunks = curve.course.chunks(AVERAGED.min(curve.course.len().max(1)));
        let mean = |chunk: &[Progress]| chunk.iter().map(|progress| progress.loss).sum::<f64>() / chunk.len() as f64;
        chunks.map(|chunk| (chunk[chunk.len() / 2].step as f64, mean(chunk))).collect()
    };
    let losses = curves.iter().flat_map(points).map(|(_, loss)| loss).chain([baseline]);
    let levels = losses.chain(curves.iter().map(|curve| curve.held_out));
    let (least, most) = levels.fold((f64::MAX, f64::MIN), |(least, most), loss| (least.min(loss), most.max(loss)));
    {
        let area = SVGBackend::with_string(&mut svg, (820, 460)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .caption("Surprise of the next byte", ("sans-serif", 20))
            .x_label_area_size(40)
            .y_label_area_size(54)
            .build_cartesian_2d(0.0..steps, (least - 0.1)..(most + 0.1))?;
        chart.configure_mesh().x_desc("step").y_desc("nats").light_line_style(TRANSPARENT).draw()?;
        let level = |name: String, loss: f64, colour: RGBColor, chart: &mut ChartContext<'_, _, _>| {
            let line = DashedLineSeries::new([(0.0, loss), (steps, loss)], 6, 4, colour.stroke_width(1));
            let drawn: Result<_, DrawingAreaErrorKind<_>> = chart.draw_series(line);
            drawn.map(|series| {
                series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
            })
        };
        level(format!("byte 3-grams, held out: {baseline:.3}"), baseline, RGBColor(120, 120, 120), &mut chart)?;
        for (curve, colour) in curves.iter().zip(COLOURS) {
            chart
                .draw_series(LineSeries::new(points(curve), colour.stroke_width(2)))?
                .label(format!("{}, training", curve.name))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            level(format!("{}, held out: {:.3}", curve.name, curve.held_out), curve.held_out, colour, &mut chart)?;
        }
        chart
            .configure_series_labels()
            .border_style(RGBColor(200, 200, 200))
            .background_style(WHITE.mix(0.8))
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}
