//! An axis: which values it holds, and where its ticks are.

/// The least span of a linear axis, as a share of its largest value: a difference of a fraction of a per cent must not look like a result.
const LEAST: f64 = 0.2;

/// How a value becomes a place on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// In proportion.
    Linear,
    /// By its logarithm; values up to 0 are left out.
    Log,
    /// The same with ticks for sizes in bytes.
    Bytes,
}

/// Smallest and largest; None of nothing.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

/// An axis with its ticks.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<f64>,
}

impl Axis {
    /// An axis that holds `low ..= high`, with about `count` ticks at round numbers.
    pub(super) fn new(low: f64, high: f64, scale: Scale, count: usize) -> Self {
        if scale == Scale::Bytes {
            return Self::bytes(low, high);
        }
        if scale == Scale::Log && high < 10.0 * low {
            let power = 10f64.powf(low.log10().floor());
            let ticks: Vec<f64> = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0].map(|factor| factor * power).to_vec();
            let first = ticks.iter().rposition(|tick| *tick <= low * 1.0001).unwrap_or(0);
            let last = ticks.iter().position(|tick| *tick >= high).unwrap_or(6).max(first + 1);
            return Self { scale, low: ticks[first], high: ticks[last], ticks: ticks[first..=last].to_vec() };
        }
        if scale == Scale::Log {
            let (low, high) = (10f64.powf(low.log10().floor()), 10f64.powf((high * 1.0001).log10().ceil()));
            let ticks = (low.log10().round() as i32..=high.log10().round() as i32).map(|power| 10f64.powi(power)).collect();
            return Self { scale, low, high, ticks };
        }
        // A difference of few per cent does not fill the axis, and a flat line gets one around it.
        let least = LEAST * low.abs().max(high.abs());
        let (low, high) = match high - low {
            span if span < least => ((low + high - least) / 2.0, (low + high + least) / 2.0),
            span if span > 0.0 => (low, high),
            _ => (low - 0.5, high + 0.5),
        };
        let rough = (high - low) / count as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
        let (first, last) = ((low / step).floor() as i64, (high / step - 1e-9).ceil() as i64);
        let ticks: Vec<f64> = (first..=last).map(|tick| tick as f64 * step).collect();
        Self { scale, low: first as f64 * step, high: last as f64 * step, ticks }
    }

    /// Ticks at powers of two, those of 1,024 among them.
    fn bytes(low: f64, high: f64) -> Self {
        let (low, high) = (low.log2().floor(), (high * 0.9999).log2().ceil());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| (high - low) / step <= 6.0).unwrap_or(20.0);
        let first = (low / step).floor() as i32;
        let last = ((high / step).ceil() as i32).max(first + 1);
        let ticks: Vec<f64> = (first..=last).map(|tick| (f64::from(tick) * step).exp2()).collect();
        Self { scale: Scale::Bytes, low: ticks[0], high: ticks[ticks.len() - 1], ticks }
    }

    /// 0 at the lower end, 1 at the upper one.
    pub(super) fn share(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log | Scale::Bytes => (value / self.low).log10() / (self.high / self.low).log10(),
        }
    }
}

/// A tick of a size in bytes.
pub(super) fn byte_tick(size: f64) -> String {
    let unit = ((size.log2() / 10.0).floor() as usize).min(4);
    let number = (size / 1024f64.powi(unit as i32)).round();
    format!("{number} {}", ["B", "KiB", "MiB", "GiB", "TiB"][unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_all_values_and_have_round_ticks() {
        let axis = Axis::new(3.0, 97.0, Scale::Linear, 5);
        assert_eq!((axis.low, axis.high), (0.0, 100.0));
        assert_eq!(axis.ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let axis = Axis::new(-310.0, -290.0, Scale::Linear, 5);
        assert_eq!((axis.low, axis.high, axis.share(-300.0)), (-340.0, -260.0, 0.5));
        let axis = Axis::new(7.0, 7.0, Scale::Linear, 5);
        assert!(axis.low < 7.0 && axis.high > 7.0 && axis.ticks.len() > 2);
        let axis = Axis::new(52.0, 1040.0, Scale::Log, 5);
        assert_eq!(axis.ticks, [10.0, 100.0, 1000.0, 10000.0]);
        assert!((axis.share(1000.0) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(Axis::new(110.0, 170.0, Scale::Log, 5).ticks, [100.0, 200.0]);
        assert_eq!(Axis::new(110.0, 900.0, Scale::Log, 5).ticks, [100.0, 200.0, 500.0, 1000.0]);
    }

    #[test]
    fn sizes_have_ticks_at_powers_of_two() {
        let words =
            |low, high| Axis::new(low, high, Scale::Bytes, 5).ticks.iter().map(|tick| byte_tick(*tick)).collect::<Vec<_>>();
        assert_eq!(words(1056.0, 1056.0), ["1 KiB", "2 KiB"]);
        assert_eq!(words(1000.0, 90_000.0), ["256 B", "1 KiB", "4 KiB", "16 KiB", "64 KiB", "256 KiB"]);
        assert_eq!(words(500.0, 3e9), ["32 B", "1 KiB", "32 KiB", "1 MiB", "32 MiB", "1 GiB", "32 GiB"]);
    }

    #[test]
    fn a_small_difference_stays_small() {
        let axis = Axis::new(99.8, 100.0, Scale::Linear, 5);
        assert!(axis.share(100.0) - axis.share(99.8) < 0.02);
    }
}
