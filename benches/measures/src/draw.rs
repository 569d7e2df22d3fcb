//! Draws figures as SVG.

use std::path::Path;

use plotters::prelude::*;

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

const SIZE: (u32, u32) = (800, 420);
const FONT: &str = "sans-serif";

/// A line of a figure, with its points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Set for a yardstick, whose line is thin.
    pub(crate) is_yardstick: bool,
}

/// Draws one bar for each value.
pub(crate) fn bars(path: &Path, title: &str, unit: &str, values: &[(String, f64)]) -> Result {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{title} ({unit})"), (FONT, 18))
        .margin(12)
        .x_label_area_size(30)
        .build_cartesian_2d(0.0..most, 0.0..values.len() as f64)?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().draw()?;
    for (index, (name, value)) in values.iter().enumerate() {
        let top = (values.len() - index) as f64;
        let style = Palette99::pick(index).mix(0.5).filled();
        let bar = Rectangle::new([(0.0, top - 0.85), (*value, top - 0.15)], style);
        let text = format!("{name}: {value:.2}");
        let text = Text::new(text, (most * 0.01, top - 0.42), (FONT, 15));
        chart.draw_series([bar])?;
        chart.plotting_area().draw(&text)?;
    }
    root.present()?;
    Ok(())
}

/// Draws lines over logarithmic axes.
pub(crate) fn lines(path: &Path, title: &str, axes: [&str; 2], lines: &[Line]) -> Result {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let all = || lines.iter().flat_map(|line| &line.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (least, most) = all().map(of).fold((f64::INFINITY, 0.0), |(least, most), value| {
            (f64::min(least, value), f64::max(most, value))
        });
        (least * 0.8..most * 1.25).log_scale()
    };
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(range(|point| point.0), range(|point| point.1))?;
    chart.configure_mesh().x_desc(axes[0]).y_desc(axes[1]).draw()?;
    for (index, line) in lines.iter().enumerate() {
        let width = if line.is_yardstick { 1 } else { 3 };
        let style = Palette99::pick(index).stroke_width(width);
        let series = LineSeries::new(line.points.iter().copied(), style).point_size(3);
        chart
            .draw_series(series)?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 13))
        .draw()?;
    root.present()?;
    Ok(())
}
