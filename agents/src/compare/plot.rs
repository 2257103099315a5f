//! Line plots as inline SVG whose colours are CSS variables, so that a page's light and dark themes hold for them too. Crates that
//! draw SVG write fixed colours.

use std::fmt::Write;

use super::axis::{Axis, Scale, range};
use crate::run::report::number;
use crate::run::words::plain;

/// Agents beyond this many share colours, told apart by their dashes.
const COLOURS: usize = 8;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// Height of a row of a [`strips`].
const ROW: f64 = 30.0;
/// Room for a character of a tick. Fonts differ, and a word that is cut is worse than a margin.
const CHARACTER: f64 = 7.8;

/// What surrounds a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// A band.
    Band,
    /// A bar at each point.
    Bars,
}

/// A line with its spread.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Number of the agent, which chooses the colour.
    pub colour: usize,
    /// Shown when the pointer rests on it.
    pub name: String,
    /// How the spread is drawn.
    pub spread: Spread,
    /// `(x, y, half height of the spread)`, by rising x.
    pub points: Vec<(f64, f64, f64)>,
}

/// A value worth knowing beside the lines.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub name: String,
    pub value: f64,
}

/// What a plot is of.
#[derive(Clone, Debug)]
pub(super) struct Plot {
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
    /// Drawn across; the vertical axis holds them.
    pub levels: Vec<Level>,
    /// Offset and slope of a straight line that says where y would be what x asks for.
    pub diagonal: Option<(f64, f64)>,
}

impl Plot {
    /// The plot as an `svg` element; None if there is nothing to draw.
    pub(super) fn svg(&self) -> Option<String> {
        let is_shown = |x: f64, y: f64| is_drawn(x) && is_drawn(y) && (self.scale == Scale::Linear || y > 0.0);
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let points = line.points.iter().filter(|point| is_shown(point.0, point.1));
                let whole = |&(x, y, spread): &(f64, f64, f64)| (x, y, if is_drawn(spread) { spread } else { 0.0 });
                (line, points.map(whole).collect::<Vec<_>>())
            })
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let all = || lines.iter().flat_map(|(_, points)| points);
        let (x_low, x_high) = range(all().map(|point| point.0))?;
        let (y_low, y_high) = match self.scale {
            Scale::Linear => {
                let levels = self.levels.iter().map(|level| level.value);
                range(all().flat_map(|point| [point.1 - point.2, point.1 + point.2]).chain(levels))?
            }
            _ => range(all().map(|point| point.1))?,
        };
        let x_axis = Axis::new(x_low, x_high, Scale::Linear, 5);
        let y_axis = Axis::new(y_low, y_high, self.scale, 5);
        let words = |axis: &Axis, format: fn(f64) -> String| axis.ticks.iter().map(|tick| format(*tick)).collect::<Vec<_>>();
        let (x_words, y_words) = (words(&x_axis, number), words(&y_axis, self.format));
        let longest = y_words.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        // Room for the labels of the ticks, whatever they are.
        let left = 32.0 + CHARACTER * longest as f64;
        let right = WIDTH - (CHARACTER / 2.0 * x_words.last().map_or(0, String::len) as f64 + 4.0).max(14.0);
        let bottom = HEIGHT - BOTTOM;
        let place_x = |x: f64| left + x_axis.share(x) * (right - left);
        let place_y = |y: f64| bottom - y_axis.share(y) * (bottom - TOP);

        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escape(&self.y));
        for (tick, text) in y_axis.ticks.iter().zip(&y_words) {
            let y = place_y(*tick);
            let _ = writeln!(svg, "<line class=\"grid\" x1=\"{left}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
            svg += &text_at("tick", left - 6.0, y + 4.0, "end", text);
        }
        svg += &x_ticks(&x_axis, &x_words, place_x, bottom, right, left);
        svg += &text_at("label", (left + right) / 2.0, HEIGHT - 8.0, "middle", &self.x);
        let _ = writeln!(
            svg,
            "<text class=\"label\" transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (TOP + bottom) / 2.0,
            escape(&self.y)
        );
        for (index, level) in self.levels.iter().enumerate() {
            let y = place_y(level.value);
            let _ = writeln!(svg, "<line class=\"level\" x1=\"{left}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
            // The level of the data may be near a reference: their names are at other ends.
            let (x, anchor) = if index < 2 { (right - 3.0, "end") } else { (left + 4.0, "start") };
            svg += &text_at("mark", x, if y < TOP + 14.0 { y + 13.0 } else { y - 4.0 }, anchor, &level.name);
        }
        if let Some((offset, slope)) = self.diagonal
            && let Some((from, to)) = clipped(&x_axis, &y_axis, offset, slope)
        {
            let at = |x: f64| (place_x(x), place_y(offset + slope * x));
            let ((x1, y1), (x2, y2)) = (at(from), at(to));
            let _ = writeln!(
                svg,
                "<line class=\"diagonal\" x1=\"{x1:.1}\" x2=\"{x2:.1}\" y1=\"{y1:.1}\" y2=\"{y2:.1}\"><title>asked = reached</title></line>"
            );
            svg += &text_at("mark", x1 + 8.0, (y1 + 4.0).clamp(TOP + 26.0, bottom - 18.0), "start", "asked = reached");
        }
        for (order, (line, points)) in lines.iter().enumerate() {
            let _ = writeln!(svg, "<g class=\"{}\"><title>{}</title>", class(line.colour), escape(&line.name));
            // Bars of several lines stand beside each other.
            let aside = 4.0 * (order as f64 - (lines.len() - 1) as f64 / 2.0);
            if points.iter().any(|point| point.2 > 0.0) {
                svg += &match line.spread {
                    Spread::Band => {
                        let upper = points.iter().map(|point| (point.0, point.1 + point.2));
                        let lower = points.iter().rev().map(|point| (point.0, point.1 - point.2));
                        let corners = upper.chain(lower).map(|(x, y)| format!("{:.1},{:.1}", place_x(x), place_y(y)));
                        format!("<polygon class=\"band\" points=\"{}\"/>\n", corners.collect::<Vec<_>>().join(" "))
                    }
                    Spread::Bars => {
                        let bar = |&(x, y, spread): &(f64, f64, f64)| {
                            let (x, low, high) = (place_x(x) + aside, place_y(y - spread), place_y(y + spread));
                            format!("<path class=\"bar\" d=\"M{:.1} {high:.1}h6m-3 0V{low:.1}m-3 0h6\"/>\n", x - 3.0)
                        };
                        points.iter().map(bar).collect()
                    }
                };
            }
            let corners = points.iter().map(|point| format!("{:.1},{:.1}", place_x(point.0), place_y(point.1)));
            let _ = writeln!(svg, "<polyline class=\"line\" points=\"{}\"/>", corners.collect::<Vec<_>>().join(" "));
            // Dots where the points are few: a single one has no line. Later ones are smaller, so that equal ones show.
            if points.len() <= 12 {
                for (x, y, _) in points {
                    let _ = writeln!(
                        svg,
                        "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{:.1}\"><title>{}: {} at {}</title></circle>",
                        place_x(*x),
                        place_y(*y),
                        (5.4 - 0.9 * order as f64).max(1.8),
                        escape(&line.name),
                        escape(&(self.format)(*y)),
                        number(*x)
                    );
                }
            }
            svg += "</g>\n";
        }
        svg += "</svg>\n";
        Some(svg)
    }
}

/// Beyond that an axis ends at infinity, and its ticks are more than memory holds.
fn is_drawn(value: f64) -> bool {
    value.abs() < 1e300
}

/// The ends of a straight line inside of both axes.
fn clipped(x: &Axis, y: &Axis, offset: f64, slope: f64) -> Option<(f64, f64)> {
    let at = |value: f64| (value - offset) / slope;
    let (from, to) = (at(y.low).max(x.low), at(y.high).min(x.high));
    (slope > 0.0 && from < to).then_some((from, to))
}

fn x_ticks(axis: &Axis, words: &[String], place: impl Fn(f64) -> f64, bottom: f64, right: f64, left: f64) -> String {
    let mut svg = String::new();
    // Every second one, or third, where they would touch.
    let room = (right - left) / axis.ticks.len().max(2) as f64;
    let longest = words.iter().map(|text| text.chars().count()).max().unwrap_or(0) as f64;
    let every = ((CHARACTER * longest + 8.0) / room).ceil().max(1.0) as usize;
    for (tick, text) in axis.ticks.iter().zip(words).step_by(every) {
        svg += &text_at("tick", place(*tick), bottom + 17.0, "middle", text);
    }
    let _ = writeln!(svg, "<line class=\"axis\" x1=\"{left}\" x2=\"{right:.1}\" y1=\"{bottom}\" y2=\"{bottom}\"/>");
    svg
}

/// Values in a row, dots that do not hide each other, with their mean.
#[derive(Clone, Debug)]
pub(super) struct Strip {
    /// Number of the agent, which chooses the colour.
    pub colour: usize,
    pub name: String,
    pub values: Vec<f64>,
}

/// Rows of dots over one axis as an `svg` element; None if there is nothing to draw.
pub(super) fn strips(strips: &[Strip], x: &str, levels: &[Level]) -> Option<String> {
    let values = strips.iter().flat_map(|strip| &strip.values).copied().filter(|value| is_drawn(*value));
    let (low, high) = range(values.chain(levels.iter().map(|level| level.value)))?;
    let axis = Axis::new(low, high, Scale::Linear, 5);
    let words: Vec<String> = axis.ticks.iter().map(|tick| number(*tick)).collect();
    const SHOWN: usize = 22;
    let longest = strips.iter().map(|strip| strip.name.chars().count().min(SHOWN)).max().unwrap_or(0);
    let (left, right) = (12.0 + CHARACTER * longest as f64, WIDTH - 22.0);
    let bottom = TOP + 12.0 + ROW * strips.len() as f64;
    let height = bottom + BOTTOM;
    let place = |value: f64| left + axis.share(value) * (right - left);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n", escape(x));
    for tick in &axis.ticks {
        let at = place(*tick);
        let _ = writeln!(svg, "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
    }
    svg += &x_ticks(&axis, &words, place, bottom, right, left);
    svg += &text_at("label", (left + right) / 2.0, height - 8.0, "middle", x);
    for level in levels {
        let at = place(level.value);
        let _ = writeln!(svg, "<line class=\"level\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
        svg += &text_at("mark", at, TOP - 3.0, "middle", &level.name);
    }
    for (row, strip) in strips.iter().enumerate() {
        let middle = TOP + 12.0 + ROW * (row as f64 + 0.5);
        let mut name: String = strip.name.chars().take(SHOWN).collect();
        if name.len() < strip.name.len() {
            name.pop();
            name.push('…');
        }
        let _ = writeln!(svg, "<g class=\"{}\"><title>{}</title>", class(strip.colour), escape(&strip.name));
        svg += &text_at("tick", left - 6.0, middle + 4.0, "end", &name);
        let finite: Vec<f64> = strip.values.iter().copied().filter(|value| is_drawn(*value)).collect();
        for (index, value) in finite.iter().enumerate() {
            // Up and down in the order of the episodes, the same at every drawing.
            let aside = ((index * 7) % 11) as f64 / 10.0 - 0.5;
            let (x, y) = (place(*value), middle + 0.6 * ROW * aside);
            let _ = writeln!(svg, "<circle class=\"episode\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>");
        }
        if !finite.is_empty() {
            let mean = finite.iter().sum::<f64>() / finite.len() as f64;
            let (x, half) = (place(mean), 0.4 * ROW);
            let (from, to) = (middle - half, middle + half);
            let _ = writeln!(
                svg,
                "<line class=\"mean\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from:.1}\" y2=\"{to:.1}\"><title>mean {}</title></line>",
                number(mean)
            );
        }
        svg += "</g>\n";
    }
    svg += "</svg>\n";
    Some(svg)
}

/// Colour and dashes of an agent: no two of the first 64 have both alike, so that lines on top of each other are told apart.
pub(super) fn class(agent: usize) -> String {
    format!("c{} d{}", agent % COLOURS, (agent + agent / COLOURS) % COLOURS)
}

fn text_at(class: &str, x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escape(text))
}

/// Text that HTML takes for text.
pub(super) fn escape(text: &str) -> String {
    plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale, points: Vec<(f64, f64, f64)>) -> Plot {
        let line = Line { colour: 9, name: "a <b>".into(), spread: Spread::Band, points };
        let (levels, diagonal) = (Vec::new(), None);
        Plot { x: "step".into(), y: "score & more".into(), scale, format: number, lines: vec![line], levels, diagonal }
    }

    #[test]
    fn a_plot_has_its_line_and_band_and_escapes_text() {
        let svg = plot(Scale::Linear, vec![(0.0, 1.0, 0.5), (10.0, 3.0, 0.5)]).svg().unwrap();
        for part in ["<polygon class=\"band\"", "<polyline", "score &amp; more", "a &lt;b&gt;", "class=\"c1 d2\""] {
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

    #[test]
    fn levels_bars_and_the_diagonal_are_drawn_inside_of_the_axes() {
        let mut plot = plot(Scale::Linear, vec![(0.0, 1.0, 0.5), (10.0, 3.0, 0.5)]);
        plot.lines[0].spread = Spread::Bars;
        plot.levels = vec![Level { name: "random".into(), value: 0.0 }, Level { name: "expert".into(), value: 100.0 }];
        plot.diagonal = Some((0.0, 20.0));
        let svg = plot.svg().unwrap();
        assert_eq!((svg.matches("class=\"bar\"").count(), svg.matches("class=\"level\"").count()), (2, 2));
        assert!(svg.contains(">expert<") && svg.contains(">100<"), "{svg}");
        // 20 x is 100 at 5, in the middle.
        assert_eq!(
            clipped(&Axis::new(0.0, 10.0, Scale::Linear, 5), &Axis::new(0.0, 100.0, Scale::Linear, 5), 0.0, 20.0),
            Some((0.0, 5.0))
        );
        let strip = Strip { colour: 0, name: "a run whose name is a long one".into(), values: vec![1.0, f64::NAN, 3.0] };
        let svg = strips(&[strip], "return", &[]).unwrap();
        assert_eq!((svg.matches("class=\"episode\"").count(), svg.matches("mean 2<").count()), (2, 1));
        assert!(svg.contains("a run whose name is a…<"), "{svg}");
    }
}
