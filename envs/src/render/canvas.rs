//! Shapes in the units of a task, on an image.

use tiny_skia::{Color, FillRule, LineCap, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

/// Red, green and blue.
pub(super) type Rgb = [u8; 3];

pub(super) const PAPER: Rgb = [250, 249, 246];
pub(super) const INK: Rgb = [45, 52, 64];
pub(super) const GREY: Rgb = [205, 208, 213];
pub(super) const BLUE: Rgb = [52, 112, 182];
pub(super) const RED: Rgb = [204, 68, 62];
pub(super) const GREEN: Rgb = [63, 145, 84];
pub(super) const AMBER: Rgb = [222, 160, 50];

/// An image with a view on a task: x to the right, y downwards.
pub(super) struct Canvas {
    pixmap: Pixmap,
    transform: Transform,
}

impl Canvas {
    /// `None` where the size is 0 or beyond what an image can be.
    pub(super) fn new(width: usize, height: usize) -> Option<Self> {
        let pixmap = Pixmap::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?)?;
        Some(Self { pixmap, transform: Transform::identity() })
    }

    /// Bytes of the image without an alpha channel.
    pub(super) fn bytes(&self) -> usize {
        self.pixmap.pixels().len() * 3
    }

    pub(super) fn clear(&mut self) {
        let [red, green, blue] = PAPER;
        self.pixmap.fill(Color::from_rgba8(red, green, blue, 255));
    }

    /// Shows a box around a centre whole, as large as the image allows.
    pub(super) fn view(&mut self, center: [f64; 2], size: [f64; 2]) {
        let (width, height) = (f64::from(self.pixmap.width()), f64::from(self.pixmap.height()));
        let scale = (width / size[0]).min(height / size[1]);
        let shift = [width / 2.0 - scale * center[0], height / 2.0 - scale * center[1]];
        self.transform = Transform::from_row(scale as f32, 0.0, 0.0, scale as f32, shift[0] as f32, shift[1] as f32);
    }

    pub(super) fn copy_to(&self, pixels: &mut [u8]) {
        for (to, from) in pixels.chunks_exact_mut(3).zip(self.pixmap.pixels()) {
            to.copy_from_slice(&[from.red(), from.green(), from.blue()]);
        }
    }

    /// A filled box between two corners.
    pub(super) fn rect(&mut self, from: [f64; 2], to: [f64; 2], color: Rgb) {
        if let Some(rect) = Rect::from_ltrb(from[0] as f32, from[1] as f32, to[0] as f32, to[1] as f32) {
            self.pixmap.fill_rect(rect, &paint(color), self.transform, None);
        }
    }

    pub(super) fn circle(&mut self, center: [f64; 2], radius: f64, color: Rgb) {
        self.fill(PathBuilder::from_circle(center[0] as f32, center[1] as f32, radius as f32), color);
    }

    pub(super) fn polygon(&mut self, points: &[[f64; 2]], color: Rgb) {
        self.fill(outline(points, true), color);
    }

    /// Straight lines from point to point, with round ends.
    pub(super) fn line(&mut self, points: &[[f64; 2]], width: f64, color: Rgb) {
        let stroke = Stroke { width: width as f32, line_cap: LineCap::Round, ..Stroke::default() };
        if let Some(path) = outline(points, false) {
            self.pixmap.stroke_path(&path, &paint(color), &stroke, self.transform, None);
        }
    }

    fn fill(&mut self, path: Option<Path>, color: Rgb) {
        if let Some(path) = path {
            self.pixmap.fill_path(&path, &paint(color), FillRule::Winding, self.transform, None);
        }
    }
}

fn paint(color: Rgb) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(color[0], color[1], color[2], 255);
    paint
}

/// `None` where there is nothing to draw, or a number is beyond all measure.
fn outline(points: &[[f64; 2]], is_closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (index, &[x, y]) in points.iter().enumerate() {
        if index == 0 { path.move_to(x as f32, y as f32) } else { path.line_to(x as f32, y as f32) }
    }
    if is_closed {
        path.close();
    }
    path.finish()
}
