//! Draws figures as SVG.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

type Result = std::result::Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &str = "sans-serif";
const WIDTH: u32 = 800;

/// Panels beside each other, and the size of each.
const COLUMNS: usize = 3;
const PANEL: (u32, u32) = (330, 260);

/// A figure of its own among others, with axes as theirs.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) lines: Vec<Line>,
}

/// A line, with its points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Set for a yardstick, whose line is thin and grey.
    pub(crate) is_yardstick: bool,
    pub(crate) is_dark: bool,
}

/// Draws one bar for each value.
pub(crate) fn bars(path: &Path, title: &str, unit: &str, values: &[(String, f64)]) -> Result {
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max) * 1.15;
    draw_bars(path, &format!("{title} ({unit})"), 0.0..most, (0.0, most * 0.01), values)
}

/// Draws one bar for each value, over a logarithmic axis.
pub(crate) fn logarithmic_bars(
    path: &Path,
    title: &str,
    unit: &str,
    values: &[(String, f64)],
) -> Result {
    let Range { start, end } = range(values.iter().map(|(_, value)| *value));
    let title = format!("{title} ({unit}, logarithmic)");
    draw_bars(path, &title, (start..end).log_scale(), (start, start * 1.05), values)
}

/// Draws bars that begin at `least`, with their texts at `text`.
fn draw_bars<X>(
    path: &Path,
    title: &str,
    axis: X,
    (least, text): (f64, f64),
    values: &[(String, f64)],
) -> Result
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let height = 90 + 40 * values.len() as u32;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(30)
        .build_cartesian_2d(axis, 0.0..values.len() as f64)?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().max_light_lines(0).draw()?;
    for (index, (name, value)) in values.iter().enumerate() {
        let top = (values.len() - index) as f64;
        let style = Palette99::pick(index).mix(0.5).filled();
        let bar = Rectangle::new([(least, top - 0.85), (*value, top - 0.15)], style);
        let name = Text::new(format!("{name}: {value:.2}"), (text, top - 0.42), (FONT, 15));
        chart.draw_series([bar])?;
        chart.plotting_area().draw(&name)?;
    }
    root.present()?;
    Ok(())
}

/// Draws panels with lines over logarithmic axes, which are the same in all of them.
pub(crate) fn panels(path: &Path, title: &str, x_axis: &str, panels: &[Panel]) -> Result {
    let panels: Vec<&Panel> = panels.iter().filter(|panel| !panel.lines.is_empty()).collect();
    let rows = panels.len().div_ceil(COLUMNS);
    let size = (PANEL.0 * COLUMNS as u32, PANEL.1 * rows as u32 + 40);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let axes = (range(points().map(|point| point.0)), range(points().map(|point| point.1)));
    let areas = root.titled(title, (FONT, 18))?.split_evenly((rows, COLUMNS));
    for (panel, area) in panels.iter().zip(&areas) {
        draw_panel(area, panel, x_axis, axes.clone())?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(
    area: &Area<'_>,
    panel: &Panel,
    x_axis: &str,
    axes: (Range<f64>, Range<f64>),
) -> Result {
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 14))
        .margin(6)
        .x_label_area_size(32)
        .y_label_area_size(40)
        .build_cartesian_2d(axes.0.log_scale(), axes.1.log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.max_light_lines(0).x_desc(x_axis).label_style((FONT, 11));
    mesh.x_label_formatter(&|value| number(*value)).y_label_formatter(&|value| number(*value));
    mesh.draw()?;
    for line in &panel.lines {
        let color = match (line.is_yardstick, line.is_dark) {
            (false, true) => RGBColor(200, 40, 40),
            (false, false) => RGBColor(40, 90, 200),
            (true, true) => RGBColor(70, 70, 70),
            (true, false) => RGBColor(160, 160, 160),
        };
        let style = color.stroke_width(if line.is_yardstick { 1 } else { 2 });
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(2))?;
    }
    Ok(())
}

/// Writes a power of ten.
fn number(value: f64) -> String {
    match value {
        1_000_000.0.. => format!("{} M", value / 1_000_000.0),
        1_000.0.. => format!("{} k", value / 1_000.0),
        _ => format!("{value}"),
    }
}

/// Returns the range of an axis for these values.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::INFINITY, 0.0), |(least, most), value| {
        (f64::min(least, value), f64::max(most, value))
    });
    least * 0.8..most * 1.25
}
