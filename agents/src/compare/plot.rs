//! Line plots as inline SVG whose colours are CSS variables, so that a page's light and dark themes hold for them too. Crates that
//! draw SVG write fixed colours.

use std::fmt::Write;

/// Agents beyond this many share colours, told apart by dashes.
pub(crate) const COLOURS: usize = 8;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// How a value becomes a place on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// In proportion.
    Linear,
    /// By its logarithm; values up to 0 are left out.
    Log,
}

/// A line with a band around it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Number of the agent, which chooses the colour.
    pub colour: usize,
    /// Shown when the pointer rests on it.
    pub name: String,
    /// `(x, y, half height of the band)`, by rising x.
    pub points: Vec<(f64, f64, f64)>,
}

/// What a plot is of.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Under the horizontal axis.
    pub x: String,
    /// Beside the vertical axis.
    pub y: String,
    /// Of the vertical axis.
    pub scale: Scale,
    /// Values of the vertical axis in words.
    pub format: fn(f64) -> String,
    /// The lines.
    pub lines: Vec<Line>,
}

impl Plot {
    /// The plot as an `svg` element; None if there is nothing to draw.
    pub(crate) fn svg(&self) -> Option<String> {
        // Beyond that an axis ends at infinity, and its ticks are more than memory holds.
        let is_shown = |y: f64| y.abs() < 1e300 && (self.scale == Scale::Linear || y > 0.0);
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| (line, line.points.iter().copied().filter(|point| is_shown(point.1)).collect::<Vec<_>>()))
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let all = || lines.iter().flat_map(|(_, points)| points);
        let (x_low, x_high) = range(all().map(|point| point.0))?;
        let (y_low, y_high) = match self.scale {
            Scale::Linear => range(all().flat_map(|point| [point.1 - point.2, point.1 + point.2]))?,
            Scale::Log => range(all().map(|point| point.1))?,
        };
        let x_axis = Axis::new(x_low, x_high, Scale::Linear, 6);
        let y_axis = Axis::new(y_low, y_high, self.scale, 5);
        let place_x = |x: f64| LEFT + x_axis.share(x) * (WIDTH - LEFT - RIGHT);
        let place_y = |y: f64| HEIGHT - BOTTOM - y_axis.share(y) * (HEIGHT - TOP - BOTTOM);

        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escape(&self.y));
        for tick in &y_axis.ticks {
            let y = place_y(*tick);
            let _ = writeln!(svg, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>", WIDTH - RIGHT);
            let text = escape(&(self.format)(*tick));
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for tick in &x_axis.ticks {
            let (x, text) = (place_x(*tick), crate::run::report::number(*tick));
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                HEIGHT - BOTTOM + 16.0
            );
        }
        let bottom = HEIGHT - BOTTOM;
        let _ = writeln!(svg, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{bottom}\" y2=\"{bottom}\"/>", WIDTH - RIGHT);
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        let _ = writeln!(
            svg,
            "<text class=\"label\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 8.0,
            escape(&self.x)
        );
        let centre = (TOP + bottom) / 2.0;
        let _ = writeln!(
            svg,
            "<text class=\"label\" transform=\"translate(13 {centre}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(&self.y)
        );
        for (line, points) in &lines {
            let class = format!("c{}{}", line.colour % COLOURS, if line.colour >= COLOURS { " dashed" } else { "" });
            let _ = writeln!(svg, "<g class=\"{class}\"><title>{}</title>", escape(&line.name));
            if points.iter().any(|point| point.2 > 0.0) {
                let upper = points.iter().map(|point| (point.0, point.1 + point.2));
                let lower = points.iter().rev().map(|point| (point.0, point.1 - point.2));
                let corners = upper.chain(lower).map(|(x, y)| format!("{:.1},{:.1}", place_x(x), place_y(y)));
                let _ = writeln!(svg, "<polygon class=\"band\" points=\"{}\"/>", corners.collect::<Vec<_>>().join(" "));
            }
            let corners = points.iter().map(|point| format!("{:.1},{:.1}", place_x(point.0), place_y(point.1)));
            let _ = writeln!(svg, "<polyline class=\"line\" points=\"{}\"/>", corners.collect::<Vec<_>>().join(" "));
            // Dots where the points are few: a single one has no line.
            if points.len() <= 12 {
                for (x, y, _) in points {
                    let _ = writeln!(
                        svg,
                        "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.2\"><title>{}: {} at {}</title></circle>",
                        place_x(*x),
                        place_y(*y),
                        escape(&line.name),
                        escape(&(self.format)(*y)),
                        crate::run::report::number(*x)
                    );
                }
            }
            svg += "</g>\n";
        }
        svg += "</svg>\n";
        Some(svg)
    }
}

/// Smallest and largest; None of nothing.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// An axis that holds `low ..= high`, with about `count` ticks at round numbers.
    fn new(low: f64, high: f64, scale: Scale, count: usize) -> Self {
        if scale == Scale::Log {
            let (low, high) = (10f64.powf(low.log10().floor()), 10f64.powf((high * 1.0001).log10().ceil()));
            let ticks = (low.log10().round() as i32..=high.log10().round() as i32).map(|power| 10f64.powi(power)).collect();
            return Self { scale, low, high, ticks };
        }
        // A flat line gets an axis around it.
        let (low, high) = if high - low > 1e-12 * high.abs() { (low, high) } else { (low - 0.5, high + 0.5) };
        let rough = (high - low) / count as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
        let (first, last) = ((low / step).floor() as i64, (high / step - 1e-9).ceil() as i64);
        let ticks: Vec<f64> = (first..=last).map(|tick| tick as f64 * step).collect();
        Self { scale, low: first as f64 * step, high: last as f64 * step, ticks }
    }

    /// 0 at the lower end, 1 at the upper one.
    fn share(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).log10() / (self.high / self.low).log10(),
        }
    }
}

/// Text that HTML takes for text.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale, points: Vec<(f64, f64, f64)>) -> Plot {
        let line = Line { colour: 9, name: "a <b>".into(), points };
        Plot { x: "step".into(), y: "score & more".into(), scale, format: crate::run::report::number, lines: vec![line] }
    }

    #[test]
    fn axes_hold_all_values_and_have_round_ticks() {
        let axis = Axis::new(3.0, 97.0, Scale::Linear, 5);
        assert_eq!((axis.low, axis.high), (0.0, 100.0));
        assert_eq!(axis.ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let axis = Axis::new(-310.0, -290.0, Scale::Linear, 5);
        assert_eq!((axis.low, axis.high, axis.share(-300.0)), (-310.0, -290.0, 0.5));
        let axis = Axis::new(7.0, 7.0, Scale::Linear, 5);
        assert!(axis.low < 7.0 && axis.high > 7.0 && axis.ticks.len() > 2);
        let axis = Axis::new(52.0, 1040.0, Scale::Log, 5);
        assert_eq!(axis.ticks, [10.0, 100.0, 1000.0, 10000.0]);
        assert!((axis.share(1000.0) - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_plot_has_its_line_and_band_and_escapes_text() {
        let svg = plot(Scale::Linear, vec![(0.0, 1.0, 0.5), (10.0, 3.0, 0.5)]).svg().unwrap();
        for part in ["<polygon class=\"band\"", "<polyline", "score &amp; more", "a &lt;b&gt;", "class=\"c1 dashed\""] {
            assert!(svg.contains(part), "{svg}\nlacks {part}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert!(plot(Scale::Linear, vec![]).svg().is_none());
        assert!(plot(Scale::Log, vec![(1.0, 0.0, 0.0)]).svg().is_none());
        let svg = plot(Scale::Log, vec![(1.0, 0.0, 0.0), (2.0, 50.0, 0.0), (3.0, f64::NAN, 0.0)]).svg().unwrap();
        assert_eq!(svg.matches("<circle").count(), 1);
    }
}
